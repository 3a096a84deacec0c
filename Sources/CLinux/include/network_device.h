// Moves a network interface into another network namespace. rtnetlink(7), with nothing but the few messages that takes.
#pragma once

// Takes `name` from the caller's network namespace to the one behind `netns`, where it is called `new_name` (with `%d` at its end: the first that is free). What a move takes away comes
// back: the addresses of global scope that stay for good; and it is up then (runtime-spec 1.3, "Network Devices"). 0 or -errno; after a
// failure behind the move itself the interface stays where it went, and ends with that namespace.
int lnt_move_network_device(const char *name, const char *new_name, int netns);
