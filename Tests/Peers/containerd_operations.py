"""What containerd's own client is asked to do. See compare.py for the functions and variables; ctr has no logs: a detached one writes to a file."""
from operation import Operation

CLEAN = """
for n in "$N" "$N-2"; do c tasks kill -s KILL "$n" 2>/dev/null; c tasks rm -f "$n" 2>/dev/null; c containers rm "$n" 2>/dev/null; done
"""
# go NAME ARGUMENTS…: runs in the foreground and removes; up NAME ARGUMENTS…: runs detached. Both take options before the image from O.
USE = r"""
O=()
go() { c run --rm "${F[@]}" --cgroup "$CG/$1" "${O[@]}" "$I" "$@"; }
up() { c run -d "${F[@]}" --cgroup "$CG/$1" --log-uri "file://$W/log" "${O[@]}" "$I" "$@"; eventually running "$1"; }
status() { c tasks ls | awk -v id="$1" '$1 == id { print $3 }'; }
running() { [ "$(status "$1")" = RUNNING ]; }
stopped() { [ "$(status "$1")" = STOPPED ]; }
pid() { c tasks ls | awk -v id="${1-$N}" '$1 == id { print $2 }'; }
said() { grep -q -- "$1" "$W/log"; }
exec_() { c tasks exec --exec-id "e$RANDOM" "$@"; }
"""


def operation(name, script, **rest):
    return Operation(name, USE + script, clients=("containerd",), **rest)


OPERATIONS = [
    operation("run: a program's output", "go $N echo hello", out="hello"),
    operation("run: an exit code", "go $N sh -c 'exit 3'", code=3, out=""),
    operation("run: ended by a signal of its own", "go $N sh -c 'sh -c \"kill -9 \\$\\$\"; echo $?'", out="137"),
    operation("run: a program that is not on PATH", "go $N no-such-program", code=1, says="executable file not found"),
    operation("run: a path that is not there", "go $N /no/such/program", code=1, says="no such file or directory"),
    operation("run: a folder is no program", "go $N /etc", code=1, says="permission denied"),
    operation("run: the same id again when it failed", "go $N no-such-program 2>/dev/null; go $N echo fine", out="fine"),
    operation("run: an id that is taken", "up $N sleep 60; go $N true 2>err; echo $?; grep -c 'already exists' err", out="1\n1"),
    operation("run: stdin to its end", "printf 'a\\nb\\n' | go $N sh -c 'read x; read y; echo $x$y'", out="ab"),
    operation("run: three megabytes through it", "head -c 3000000 /dev/zero | go $N sh -c 'head -c 3000000 | wc -c'", out="3000000"),
    operation("run: stdout and stderr are two", "go $N sh -c 'echo out; echo err >&2' 2>err; cat err", out="out\nerr"),
    operation("run: /dev/stdout can be written", "go $N sh -c 'echo o >/dev/stdout; echo e >/dev/stderr' 2>/dev/null", out="o"),
    operation("run: many short ones at once", "for n in $(seq 6); do go $N-$n sh -c \"exit $n\" 2>/dev/null & done; s=0; for j in $(jobs -p); do wait $j; s=$((s + $?)); done; echo $s", out="21"),
    operation("tty: size, echo and exit code", "tty 100x40 --type 'word\\n' -- bash -c \"$(declare -f c go); F=(${F[*]}); O=(-t); go $N sh -c 'until [ \\\"\\$(stty size 2>/dev/null)\\\" = \\\"40 100\\\" ]; do sleep 0.05; done; echo ready; read x; echo got \\$x; exit 5'\" | tr -d '\\r'",
              code=5, out="ready\nword\ngot word"),
    operation("tty: a resize arrives", "tty 80x24 --resize 120x50 -- bash -c \"$(declare -f c go); F=(${F[*]}); O=(-t); go $N sh -c 'until [ \\\"\\$(stty size 2>/dev/null)\\\" = \\\"24 80\\\" ]; do sleep 0.05; done; echo ready; until [ \\\"\\$(stty size 2>/dev/null)\\\" = \\\"50 120\\\" ]; do sleep 0.05; done; echo got; exit 7'\" | tr -d '\\r'",
              code=7, out="ready\ngot"),
    operation("detached: a life", "up $N sh -c 'echo up; trap \"exit 5\" TERM; while :; do sleep 0.05; done'; eventually said up; status $N; c tasks kill -s TERM $N; eventually stopped $N; status $N; c tasks rm $N 2>&1 | grep -o 'exit code .'; c containers rm $N; echo $?",
              out="RUNNING\nSTOPPED\nexit code 5\n0"),
    operation("kill: KILL", "up $N sleep 60; c tasks kill -s KILL $N; eventually stopped $N; c tasks rm $N 2>&1 | grep -o 'exit code 137'", out="exit code 137"),
    operation("kill: another signal is only that", "up $N sh -c 'trap \"echo heard\" HUP; echo up; while :; do sleep 0.05; done'; eventually said up; c tasks kill -s HUP $N; eventually said heard; status $N", out="RUNNING"),
    operation("kill: all processes", "up $N sh -c 'sleep 1234 & sleep 1234'; c tasks kill -a -s KILL $N; eventually stopped $N; status $N", out="STOPPED"),
    operation("kill: a stopped one is not there", "up $N sh -c 'sleep 2' 2>/dev/null; eventually stopped $N; c tasks kill -s KILL $N 2>err; echo $?; grep -c 'already finished' err", out="1\n1"),
    operation("tasks rm: a running one is refused, -f is not", "up $N sleep 60; c tasks rm $N >/dev/null 2>&1; echo $?; c tasks rm -f $N >/dev/null 2>&1; eventually test -z \"$(status $N)\"; echo gone", out="1\ngone"),
    operation("pause and resume", """
        up $N sh -c 'while :; do echo x >>/tmp/n; sleep 0.02; done'; p=$(pid); eventually test -s /proc/$p/root/tmp/n; c tasks pause $N; status $N; cat /sys/fs/cgroup/freezer$(cgroup_of freezer $p)/freezer.state
        one=$(wc -c </proc/$p/root/tmp/n); sleep 0.3; two=$(wc -c </proc/$p/root/tmp/n); [ $one = $two ] && echo still; c tasks resume $N; status $N""", out="PAUSED\nFROZEN\nstill\nRUNNING"),
    operation("pause: a paused one can be killed", "up $N sleep 60; c tasks pause $N; c tasks kill -s KILL $N; echo $?; c tasks resume $N 2>/dev/null; eventually stopped $N; status $N"),
    operation("exec: output, exit code, user, folder", "up $N sleep 60; exec_ $N sh -c 'echo o; exit 5'; echo $?; exec_ --cwd /tmp $N pwd; exec_ --user 1000 $N id -u; exec_ --user 1000:2000 $N id -g", out="o\n5\n/tmp\n1000\n2000"),
    operation("exec: a program that is not there", "up $N sleep 60; exec_ $N no-such-program", code=1, says="executable file not found"),
    operation("exec: a folder is no program", "up $N sleep 60; exec_ $N /etc", code=1, says="permission denied"),
    operation("exec: stdin", "up $N sleep 60; printf 'x\\ny\\n' | exec_ $N sh -c 'read x; read y; echo $x$y'", out="xy"),
    operation("exec: a terminal", "up $N sleep 60; tty 90x30 --type 'w\\n' -- bash -c \"$(declare -f c exec_); exec_ -t $N sh -c 'until [ \\\"\\$(stty size 2>/dev/null)\\\" = \\\"30 90\\\" ]; do sleep 0.05; done; echo ready; read x; echo got \\$x; exit 3'\" | tr -d '\\r'", code=3, out="ready\nw\ngot w"),
    operation("exec: detached, killed by its own id", "up $N sleep 60; c tasks exec -d --exec-id one $N sleep 61; eventually sh -c \"c() { :; }; grep -qz '^61$' /proc/[0-9]*/cmdline\"; c tasks kill --exec-id one -s KILL $N; eventually sh -c \"! c tasks ps $N | grep -q one\"; status $N", out="RUNNING"),
    operation("exec: capabilities are the container's", "up $N sleep 60; exec_ $N grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status"),
    operation("exec: in a paused one it is refused", "up $N sleep 60; c tasks pause $N; exec_ $N true 2>err; echo $?; c tasks resume $N; grep -ciE 'paused' err", out="1\n1"),
    operation("ps and metrics", "up $N sh -c 'sleep 62 & sleep 63'; eventually sh -c \"[ \\$(ls /proc | wc -l) -gt 0 ]\"; c tasks ps $N | tail -n +2 | awk '{ print NF > 0 }' | sort -u; c tasks metrics $N | grep -cE '^(memory.usage_in_bytes|pids.current)'", says="2"),
    operation("limits: seen outside", "O=(--memory-limit 67108864 --cpus 0.5 --cpu-shares 512); up $N sleep 60; p=$(pid); for f in memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.shares; do cat /sys/fs/cgroup/${f%%/*}$(cgroup_of ${f%%/*} $p)/${f#*/}; done", out="67108864\n50000\n512"),
    operation("limits: out of memory, and its event", "c events >events & e=$!; O=(--memory-limit 25165824); sleep 0.3; go $N sh -c 'tail /dev/zero'; echo $?; eventually grep -q tasks/oom events; grep -q \"tasks/oom.*$N\" events && echo 1; kill $e", out="137\n1"),
    operation("events: a life", "c events >events & e=$!; sleep 0.3; go $N true; eventually grep -q tasks/delete events; grep \"$N\\\"\" events | grep -oE '/tasks/[a-z]+' ; kill $e", says="/tasks/start"),
    operation("every controller has the container", "up $N sleep 60; p=$(pid); for k in memory cpu cpuacct cpuset pids devices freezer blkio; do grep -qx $p /sys/fs/cgroup/$k$(cgroup_of $k $p)/cgroup.procs && echo $k; done", out="memory\ncpu\ncpuacct\ncpuset\npids\ndevices\nfreezer\nblkio"),
    operation("mounts: the whole table", "go $N cat /proc/self/mountinfo", filter="mounts", says="/proc proc"),
    operation("/dev: what is in it", "go $N sh -c 'cd /dev; for f in $(find . | sort); do stat -c \"%n %F %a %u:%g %t,%T\" $f; done; for f in fd stdin stdout stderr ptmx; do readlink $f; done' | grep -vE '^\\./(shm|mqueue|pts)/'", says="./null character"),
    operation("read-only root", "O=(--read-only); go $N touch /x 2>&1", code=1, says="Read-only"),
    operation("mount: both ways", "echo in >from; O=(--mount type=bind,src=$W,dst=/v,options=rbind:rw); go $N sh -c 'cat /v/from; echo out >/v/to'; cat to", out="in\nout"),
    operation("mount: read-only", "O=(--mount type=bind,src=$W,dst=/v,options=rbind:ro); go $N sh -c 'touch /v/x' 2>&1", code=1, says="Read-only"),
    operation("mount: tmpfs", "O=(--mount type=tmpfs,src=tmpfs,dst=/t,options=size=1m:mode=1777); go $N sh -c 'stat -c %a /t; df -k /t | tail -1 | tr -s \" \" | cut -d\" \" -f2'", out="1777\n1024"),
    operation("environment and folder", "O=(--env A=b --cwd /tmp); go $N sh -c 'echo $A; pwd'", out="b\n/tmp"),
    operation("status: capabilities, seccomp, privileges", "go $N grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups|Umask)' /proc/self/status"),
    operation("capabilities: one more and one less", "O=(--cap-add CAP_NET_ADMIN --cap-drop CAP_CHOWN); go $N sh -c 'grep -E ^Cap /proc/self/status; chown 1 /tmp 2>/dev/null || echo refused'", says="refused"),
    operation("new privileges by option", "O=(--allow-new-privs); go $N grep NoNewPrivs /proc/self/status", says="0"),
    operation("privileged (asks for capabilities that root may lack)", "O=(--privileged); go $N grep CapEff /proc/self/status; echo $?"),
    operation("seccomp: the default profile", "O=(--seccomp); go $N sh -c 'grep Seccomp: /proc/self/status; unshare -m true; echo $?' 2>/dev/null", says="2"),
    operation("seccomp: a profile that forbids mkdir", """
        echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":95}]}' >p.json
        O=(--seccomp --seccomp-profile $W/p.json); go $N sh -c 'touch /tmp/x && mkdir /tmp/y' 2>&1""", code=1, says="not supported"),
    operation("devices: one of the host's", "O=(--device /dev/fuse); go $N sh -c 'stat -c \"%F %t,%T\" /dev/fuse; exec 3<>/dev/fuse && echo opened'", says="opened"),
    operation("devices: others can be made but not used", "go $N sh -c 'mknod /tmp/mem c 1 1 && head -c1 /tmp/mem' 2>&1", code=1, says="not permitted"),
    operation("namespaces: the host's network", "O=(--net-host); go $N readlink /proc/self/ns/net >in; [ $(cat in) = $(readlink /proc/self/ns/net) ] && echo same", out="same"),
    operation("namespaces: another container's", "up $N sleep 60; O=(--with-ns network:/proc/$(pid)/ns/net --with-ns ipc:/proc/$(pid)/ns/ipc); go $N-2 readlink /proc/self/ns/net >in; [ $(cat in) = $(readlink /proc/$(pid)/ns/net) ] && echo same", out="same"),
    operation("user namespace", "chmod 711 $W; O=(--uidmap 0:200000:65536 --gidmap 0:200000:65536); go $N sh -c 'id -u; cat /proc/self/uid_map; echo o >/dev/stdout' 2>&1; echo $?"),
    operation("a rootfs instead of an image", "mkdir -p r/bin r/proc r/sys r/dev r/run; cp /bin/busybox r/bin/busybox; c run --rm \"${F[@]}\" --cgroup $CG/$N --rootfs $W/r $N /bin/busybox echo here", out="here"),
    operation("propagation of the root", "O=(--rootfs-propagation rslave); go $N sh -c 'grep \" / / \" /proc/self/mountinfo | grep -c master'; echo $?"),
    operation("annotations and labels", "O=(--annotation a.b=c --label d=e); up $N sleep 60; $RUNTIME --root $STATE state $N | jq -r '.status, .annotations[\"a.b\"] // \"none\"'", says="running"),
]
