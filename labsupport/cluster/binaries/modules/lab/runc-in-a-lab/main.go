// runc-in-a-lab runs containers where some or all cgroups cannot be written and few ids are mapped.
//
// It stands between containerd and runc. Before runc reads the bundle of a new container, it takes out of config.json
// what the kernel would refuse: limits without a controller, a lower oom_score_adj, and the group of terminals. No
// setting of containerd does this: it sets cgroupsPath and resources on every spec, and uses base_runtime_spec for
// containers, but not for the one that holds a pod's namespaces.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	runcVariable        = "LABSUPPORT_RUNC"
	noSeccompVariable   = "LABSUPPORT_RUNC_WITHOUT_SECCOMP" // set where runc was built without libseccomp
	cgroupVariable      = "LABSUPPORT_RUNC_CGROUP"          // where containers get their cgroups; nothing where they get none
	controllersVariable = "LABSUPPORT_RUNC_CONTROLLERS"     // which controllers the cgroups have, words
)

func main() {
	if bundle, isNew := bundleOfNewContainer(os.Args[1:]); isNew {
		if err := rewrite(filepath.Join(bundle, "config.json")); err != nil {
			fail(err)
		}
	}
	runc, err := findRunc()
	if err != nil {
		fail(err)
	}
	if globals, container, asked := containerToList(os.Args[1:]); asked && os.Getenv(cgroupVariable) == "" && list(runc, globals, container) == nil {
		return
	}
	fail(syscall.Exec(runc, append([]string{runc}, os.Args[1:]...), os.Environ()))
}

// fail says what is wrong where containerd looks for it: in the file that --log names.
func fail(err error) {
	fmt.Fprintf(os.Stderr, "runc-in-a-lab: %v\n", err)
	for i, argument := range os.Args[:len(os.Args)-1] {
		if strings.TrimLeft(argument, "-") == "log" {
			entry, _ := json.Marshal(map[string]string{"level": "error", "msg": err.Error()})
			os.WriteFile(os.Args[i+1], append(entry, '\n'), 0o600)
		}
	}
	os.Exit(1)
}

// findRunc looks where the environment says, then beside this program, then on PATH.
func findRunc() (string, error) {
	if named := os.Getenv(runcVariable); named != "" {
		return named, nil
	}
	if self, err := os.Executable(); err == nil {
		if beside := filepath.Join(filepath.Dir(self), "runc"); isFile(beside) {
			return beside, nil
		}
	}
	found, err := exec.LookPath("runc")
	if err != nil {
		return "", fmt.Errorf("no runc: set %s to its path (%w)", runcVariable, err)
	}
	return found, nil
}

func isFile(path string) bool {
	status, err := os.Stat(path)
	return err == nil && status.Mode().IsRegular()
}

// bundleOfNewContainer returns the folder that the arguments of runc name, and whether they make a new container.
func bundleOfNewContainer(arguments []string) (string, bool) {
	command, rest := splitGlobalOptions(arguments)
	if command != "create" && command != "run" && command != "restore" {
		return "", false
	}
	bundle := "."
	for i, argument := range rest {
		name, value, joined := strings.Cut(argument, "=")
		switch name {
		case "--bundle", "-bundle", "--b", "-b":
			if joined {
				bundle = value
			} else if i+1 < len(rest) {
				bundle = rest[i+1]
			}
		}
	}
	return bundle, true
}

// splitGlobalOptions returns runc's subcommand and what follows it.
func splitGlobalOptions(arguments []string) (string, []string) {
	withValue := map[string]bool{"root": true, "log": true, "log-format": true, "criu": true, "rootless": true}
	for i := 0; i < len(arguments); i++ {
		if !strings.HasPrefix(arguments[i], "-") {
			return arguments[i], arguments[i+1:]
		}
		if withValue[strings.TrimLeft(arguments[i], "-")] {
			i++
		}
	}
	return "", nil
}
