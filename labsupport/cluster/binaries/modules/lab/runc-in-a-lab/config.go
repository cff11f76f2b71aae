package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

type object = map[string]any

// rewrite changes config.json in one step: who reads it sees the old one or the new one.
func rewrite(path string) error {
	status, err := os.Stat(path)
	if err != nil {
		return err
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	changed, err := fitting(old, ids{mapped("uid"), mapped("gid")}, ownOOMScoreAdj())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	draft := path + ".new"
	if err := os.WriteFile(draft, changed, status.Mode().Perm()); err != nil {
		return err
	}
	return os.Rename(draft, path)
}

const terminalGroup = 5 // the group `tty`, which containerd gives terminals to

// ids are the user and group ids that this user namespace has.
type ids struct{ users, groups []span }

type span struct{ first, count int64 }

func has(spans []span, id int64) bool {
	return slices.ContainsFunc(spans, func(s span) bool { return id >= s.first && id-s.first < s.count })
}

// fitting returns the OCI spec without what the kernel refuses here.
func fitting(config []byte, there ids, lowestOOMScoreAdj int64) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(config))
	decoder.UseNumber() // limits of 64 bits stay exact
	var spec object
	if err := decoder.Decode(&spec); err != nil {
		return nil, err
	}
	if err := checkUser(spec, there); err != nil {
		return nil, err
	}
	if linux, ok := spec["linux"].(object); ok {
		limit(linux, os.Getenv(cgroupVariable), strings.Fields(os.Getenv(controllersVariable)))
		if os.Getenv(noSeccompVariable) != "" {
			delete(linux, "seccomp")
		}
	}
	if process, ok := spec["process"].(object); ok {
		if wanted, ok := process["oomScoreAdj"].(json.Number); ok {
			if value, err := wanted.Int64(); err != nil || value < lowestOOMScoreAdj {
				delete(process, "oomScoreAdj") // to raise it is always allowed, to lower it is not
			}
		}
	}
	if mounts, ok := spec["mounts"].([]any); ok && !has(there.groups, terminalGroup) {
		for _, mount := range mounts {
			dropTerminalGroup(mount)
		}
	}
	var changed bytes.Buffer
	encoder := json.NewEncoder(&changed)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(spec)
	return changed.Bytes(), err
}

// limit moves the container's cgroup into the node's, and leaves of its limits those that have a controller. Rules for
// devices go as well: they need a right that no lab has (bpf(2)).
func limit(linux object, cgroup string, controllers []string) {
	if below, _ := linux["cgroupsPath"].(string); cgroup != "" {
		linux["cgroupsPath"] = path.Join(cgroup, below)
	} else {
		delete(linux, "cgroupsPath")
	}
	resources, _ := linux["resources"].(object)
	kept := object{}
	for _, name := range controllers {
		if value, ok := resources[name]; ok {
			kept[name] = value
		}
	}
	if cpu, ok := kept["cpu"].(object); ok {
		delete(cpu, "cpus") // of another controller, cpuset
		delete(cpu, "mems")
	}
	if unified, ok := resources["unified"].(object); ok {
		maps.DeleteFunc(unified, func(file string, _ any) bool {
			controller, _, _ := strings.Cut(file, ".")
			return !slices.Contains(controllers, controller)
		})
		kept["unified"] = unified
	}
	linux["resources"] = kept
}

func dropTerminalGroup(mount any) {
	fields, ok := mount.(object)
	if !ok || fields["destination"] != "/dev/pts" {
		return
	}
	options, ok := fields["options"].([]any)
	if !ok {
		return
	}
	dropped := fmt.Sprintf("gid=%d", terminalGroup)
	fields["options"] = slices.DeleteFunc(options, func(option any) bool { return option == dropped })
}

// checkUser tells who wants to be a user that is not there; runc itself would say "invalid argument".
func checkUser(spec object, there ids) error {
	process, _ := spec["process"].(object)
	user, _ := process["user"].(object)
	groups, _ := user["additionalGids"].([]any)
	for _, wanted := range []struct {
		what  string
		ids   []any
		there []span
	}{{"uid", []any{user["uid"]}, there.users}, {"gid", append([]any{user["gid"]}, groups...), there.groups}} {
		for _, value := range wanted.ids {
			number, _ := value.(json.Number)
			if id, err := number.Int64(); err == nil && !has(wanted.there, id) {
				return fmt.Errorf("the container wants %s %d, and this cluster has only %s 0, since the user who started "+
					"it has no range in /etc/subuid: `labsupport doctor` says how to get one", wanted.what, id, wanted.what)
			}
		}
	}
	return nil
}

// mapped returns the ids of a kind that this user namespace has; with others, mounts and setuid fail with EINVAL.
func mapped(kind string) (spans []span) {
	maps, err := os.Open("/proc/self/" + kind + "_map")
	if err != nil {
		return nil
	}
	defer maps.Close()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var outside int64
		var one span
		if _, err := fmt.Sscan(lines.Text(), &one.first, &outside, &one.count); err == nil {
			spans = append(spans, one)
		}
	}
	return spans
}

// ownOOMScoreAdj returns this process's value: the lowest one that it may surely set.
func ownOOMScoreAdj() int64 {
	text, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return 0
	}
	value, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0
	}
	return value
}
