package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
)

// containerToList returns the global options and the container that `runc ps --format json` is asked for.
func containerToList(arguments []string) (globals []string, container string, asked bool) {
	command, rest := splitGlobalOptions(arguments)
	if command != "ps" || len(rest) == 0 || !slices.Contains(rest, "json") {
		return nil, "", false
	}
	return arguments[:len(arguments)-len(rest)-1], rest[len(rest)-1], true
}

// list prints the first process of a container, as `runc ps --format json` prints all of them.
//
// runc looks for them in the container's cgroup and finds none where there are no cgroups. A containerd that is started again would take
// each container for one that never ran: it would forget it, start another one, and leave the old one running. It asks
// only whether there is any process.
func list(runc string, globals []string, container string) error {
	text, err := exec.Command(runc, append(slices.Clone(globals), "state", container)...).Output()
	if err != nil {
		return err // runc itself says what is wrong
	}
	var state struct {
		Pid int `json:"pid"`
	}
	if err := json.Unmarshal(text, &state); err != nil {
		return err
	}
	pids := []int{}
	if state.Pid != 0 { // 0: it has ended
		pids = append(pids, state.Pid)
	}
	return json.NewEncoder(os.Stdout).Encode(pids)
}
