"""What Podman and Docker are asked to do: the two have one command line. See compare.py for the functions and variables."""
import re

from operation import Operation

CLEAN = "gone $N"
PODMAN, DOCKER = ("podman",), ("docker",)
PRIMARY = {"podman": "the primary group is always among the supplementary ones (CVE-2022-36109)"}
RESET = dict.fromkeys(PODMAN + DOCKER, "no signal is ignored; runc leaves 32 as its caller had it (perhaps)")
UNGRANTED = {"docker": "capabilities that the runtime itself lacks are left out with a warning, as the runtime-spec asks; runc fails"}

RUN = [
    Operation("run: a program's output", "run --rm $I echo hello", out="hello"),
    Operation("run: an exit code", "run --rm $I sh -c 'exit 3'", code=3, out=""),
    Operation("run: a program that is not on PATH", "run --rm --name $N $I no-such-program", code=127, out="", says="executable file not found"),
    Operation("run: a path that is not there", "run --rm --name $N $I /no/such/program", code=127, out="", says="no such file or directory"),
    Operation("run: a folder is no program", "run --rm --name $N $I /etc", code=126, out="", says="permission denied"),
    Operation("run: a file without the x bit", "run --rm --name $N $I /etc/passwd", code=126, out="", says="permission denied"),
    Operation("run: what is not there leaves nothing", "run --name $N $I no-such-program; c rm $N >/dev/null; c ps -aq --filter name=$N | wc -l", out="0"),
    Operation("run: ended by a signal of its own", "run --rm --init $I sh -c 'kill -TERM $$'", code=143, out=""),
    Operation("run: stdout and stderr are two", "run --rm $I sh -c 'echo out; echo err >&2' 2>err; echo; cat err", out="out\n\nerr"),
    Operation("run -i: reads stdin to its end", "printf 'a\\nb\\n' | run --rm -i $I wc -l", out="2"),
    Operation("run -i: three megabytes through it", "head -c 3000000 /dev/zero | run --rm -i $I sh -c 'wc -c; head -c 3000000 /dev/zero' | wc -c", out="3000008"),
    Operation("run: without -i stdin is empty", "echo text | run --rm $I cat", out=""),
    Operation("run: a child may write /dev/stdout and /dev/stderr", "run --rm $I sh -c 'echo o >/dev/stdout; echo e >/dev/stderr' 2>&1 | sort", out="e\no"),
    Operation("run: the container's user may write /dev/stdout", "run --rm -u 1000 $I sh -c 'echo o >/dev/stdout'", out="o"),
    Operation("run: many short ones at once", "for n in $(seq 6); do run --rm $I sh -c \"exit $n\" & done; s=0; for j in $(jobs -p); do wait $j; s=$((s + $?)); done; echo $s", out="21"),
    Operation("run: a program that ends at once", "for n in 1 2 3; do run --rm $I true || echo failed; done", out=""),
]

TERMINAL = [
    Operation("tty: stdin is one and has the size", "tty 100x40 -- bash -c 'true' >/dev/null; " "c create -it --name $N \"${F[@]}\" $I sh -c 'until [ \"$(stty size 2>/dev/null)\" = \"40 100\" ]; do sleep 0.05; done; tty; stty size' >/dev/null; "
              "tty 100x40 -- bash -c \"$(declare -f c); c start -ai $N\"", says="40 100"),
    Operation("tty: a resize arrives as SIGWINCH", "run -dit --name $N $I sh -c 'trap \"s=\\$(stty size 2>/dev/null); [ \\\"\\$s\\\" = \\\"50 120\\\" ] && echo got \\$s && exit 7\" WINCH; while :; do echo ready; sleep 0.1; done' >/dev/null;"
              " tty 80x24 --resize 120x50 -- bash -c \"$(declare -f c); c attach $N\" | grep -o 'got 50 120'; c wait $N", out="got 50 120\n7"),
    Operation("tty: exit code and echo", "tty 80x24 --type 'word\\n' -- bash -c \"$(declare -f c run); F=(${F[*]}); run --rm -it $I sh -c 'echo ready; read x; echo got \\$x; exit 5'\" | tr -d '\\r' | grep -v 'failed to resize'", code=5, out="ready\nword\ngot word"),
    Operation("tty: ctrl-c interrupts", "tty 80x24 --type '\\x03' -- bash -c \"$(declare -f c run); F=(${F[*]}); run --rm -it $I sh -c 'trap \\\"exit 9\\\" INT; echo ready; while :; do sleep 0.1; done'\" | head -1 | tr -d '\\r'; echo ${PIPESTATUS[0]}", out="ready\n9"),
    Operation("tty: /dev/console is it", "run --rm -t $I sh -c 'ls -l /dev/console | cut -c1; test -t 0 && echo yes; stat -c %a:%u:%g $(tty)' | tr -d '\\r'"),
    Operation("tty: a user's terminal is the user's", "run --rm -t -u 1000 $I sh -c 'stat -c %u $(tty); echo hello >$(tty)' | tr -d '\\r'", out="1000\nhello"),
]

DETACHED = [
    Operation("detached: logs, wait, inspect", """
        run -d --name $N $I sh -c 'echo one; echo two >&2; exit 4' >/dev/null; c wait $N; eventually said two; c logs $N 2>&1 | sort
        field '{{.State.Status}} {{.State.ExitCode}} {{.State.Running}} {{.State.OOMKilled}} {{.State.Pid}}'""", out="4\none\ntwo\nexited 4 false false 0"),
    Operation("detached: what inspect says of a running one", """
        run -d --name $N $I sleep 60 >/dev/null; field '{{.State.Status}} {{.State.Running}} {{.State.Paused}} {{.State.ExitCode}}'
        [ "$(tr '\\0' ' ' <"/proc/$(pid)/cmdline")" = 'sleep 60 ' ] && echo pid""", out="running true false 0\npid"),
    Operation("detached: created, then started", "create --name $N $I sh -c 'echo ran; exit 2' >/dev/null; field '{{.State.Status}}'; c start -a $N; echo $?", out="created\nran\n2"),
    Operation("detached: logs are followed to the end", "run -d --name $N $I sh -c 'for n in 1 2 3; do echo $n; sleep 0.1; done' >/dev/null; c logs -f $N", out="1\n2\n3"),
    Operation("detached: started with stdin attached", "create -i --name $N $I sh -c 'read x; echo $x; exit 6' >/dev/null; echo text | c start -ai $N; echo $?", out="text\n6"),
    Operation("rm: a running one is refused, -f is not", "run -d --name $N $I sleep 60 >/dev/null; c rm $N 2>/dev/null; echo $?; gone $N >/dev/null; echo $?; c ps -aq --filter name=$N | wc -l"),
]

EXEC = [
    Operation("exec: output, exit code, environment", """
        run -d --name $N -e A=1 $I sleep 60 >/dev/null; c exec $N sh -c 'echo $A $B; exit 5'; echo $?; c exec -e B=2 $N sh -c 'echo $A $B'; c exec -w /tmp $N pwd
        c exec -u 1000 $N id; c exec -u app $N sh -c 'id -u; echo $HOME'; c exec -u 7:8 $N id -g""",
              says="uid=1000", differs=PRIMARY),
    Operation("exec: a program that is not there", "run -d --name $N $I sleep 60 >/dev/null; c exec $N no-such-program >said 2>&1; e=$?; grep -o 'executable file not found' said; exit $e", out="executable file not found", code=127, clients=PODMAN),
    Operation("exec: a program that is not there (Docker says 126)", "run -d --name $N $I sleep 60 >/dev/null; c exec $N no-such-program >said 2>&1; e=$?; grep -o 'executable file not found' said; exit $e", out="executable file not found", code=126, clients=DOCKER),
    Operation("exec: a folder is no program", "run -d --name $N $I sleep 60 >/dev/null; c exec $N /etc >said 2>&1; e=$?; grep -o 'permission denied' said | head -1; exit $e", out="permission denied", code=126),
    Operation("exec: a working folder that is not there", "run -d --name $N $I sleep 60 >/dev/null; c exec -w /no/such $N true >err 2>&1; echo $?; grep -ciE 'no such file|chdir' err"),
    Operation("exec -i: stdin", "run -d --name $N $I sleep 60 >/dev/null; printf 'x\\ny\\n' | c exec -i $N wc -l", out="2"),
    Operation("exec -t: a terminal with a size", "run -d --name $N $I sleep 60 >/dev/null; tty 90x30 --type '\\n' -- bash -c \"$(declare -f c); c exec -it $N sh -c 'until [ \\\"\\$(stty size 2>/dev/null)\\\" = \\\"30 90\\\" ]; do sleep 0.05; done; stty size; echo ready; read x; exit 3'\" | head -1 | tr -d '\\r'; echo ${PIPESTATUS[0]}", out="30 90\n3"),
    Operation("exec -d: runs on", "run -d --name $N $I sleep 60 >/dev/null; c exec -d $N sh -c 'echo done >/tmp/x; sleep 60' >/dev/null; eventually c exec $N test -s /tmp/x; c exec $N cat /tmp/x; c exec $N ps -o args | grep -c 'sleep 60$'", out="done\n2"),
    Operation("exec: capabilities and seccomp are the container's", "run -d --name $N $I sleep 60 >/dev/null; c exec $N grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status"),
    Operation("exec: a user has no effective capability", "run -d --name $N $I sleep 60 >/dev/null; c exec -u 1000 $N grep -E '^(Cap|Groups)' /proc/self/status", differs=PRIMARY),
    Operation("exec --privileged", "run -d --name $N $I sleep 60 >/dev/null; c exec --privileged $N grep -E '^Cap(Eff|Bnd)' /proc/self/status", clients=PODMAN),
    Operation("exec: namespaces, cgroup and root are the container's", """
        run -d --name $N $I sleep 60 >/dev/null
        c exec $N sh -c 'for n in mnt pid net ipc uts user; do [ "$(readlink /proc/1/ns/$n)" = "$(readlink /proc/self/ns/$n)" ] && echo $n; done; diff /proc/1/cgroup /proc/self/cgroup && echo cgroup'""",
              out="mnt\npid\nnet\nipc\nuts\nuser\ncgroup"),
    Operation("exec: in a paused one it is refused", "run -d --name $N $I sleep 60 >/dev/null; c pause $N >/dev/null; c exec $N true 2>err; [ $? -ne 0 ] && grep -cE 'paused|state improper' err"),
    Operation("exec: in a stopped one it is refused", "run --name $N $I true >/dev/null; c exec $N true 2>err; [ $? -ne 0 ] && grep -cE 'not running|stopped|state improper' err"),
    Operation("exec: ends with the container", "run -d --name $N $I sleep 60 >/dev/null; (c exec $N sh -c 'echo >/tmp/up; sleep 50'; echo $?) & eventually c exec $N test -e /tmp/up; c kill $N >/dev/null; wait", clients=DOCKER),
    Operation("exec: twenty at once", "run -d --name $N $I sleep 60 >/dev/null; for n in $(seq 8); do c exec $N sh -c \"exit $n\" & done; s=0; for j in $(jobs -p); do wait $j; s=$((s + $?)); done; echo $s", out="36"),
]

SIGNALS = [
    Operation("stop: TERM is heard", "run -d --name $N $I sh -c 'trap \"exit 5\" TERM; echo up; while :; do sleep 0.05; done' >/dev/null; eventually said up; c stop -t 20 $N >/dev/null; field '{{.State.ExitCode}} {{.State.Status}}'", out="5 exited"),
    Operation("stop: TERM is not heard, KILL comes", "run -d --name $N $I sleep 60 >/dev/null; c stop -t 1 $N >/dev/null 2>&1; field '{{.State.ExitCode}} {{.State.Status}}'", out="137 exited"),
    Operation("stop: another signal by option", "run -d --stop-signal USR1 --name $N $I sh -c 'trap \"exit 8\" USR1; echo up; while :; do sleep 0.05; done' >/dev/null; eventually said up; c stop -t 20 $N >/dev/null; field '{{.State.ExitCode}}'", out="8"),
    Operation("kill: KILL", "run -d --name $N $I sleep 60 >/dev/null; c kill $N >/dev/null; c wait $N", out="137"),
    Operation("kill: another signal is only that", "run -d --name $N $I sh -c 'trap \"echo heard\" HUP; echo up; while :; do sleep 0.05; done' >/dev/null; eventually said up; c kill -s HUP $N >/dev/null; eventually said heard; field '{{.State.Running}}'", out="true"),
    Operation("kill: a stopped one is an error", "run --name $N $I true; c kill $N 2>err; [ $? -ne 0 ] && grep -ciE 'not running|state improper|can only kill' err"),
    Operation("kill: every process ends", "run -d --name $N $I sh -c 'sleep 1234567 & sleep 1234567 & wait' >/dev/null; p=$(pid); eventually c exec $N pidof sleep; c kill $N >/dev/null; c wait $N >/dev/null; eventually test ! -e /proc/$p; echo gone", out="gone"),
    Operation("restart: runs again and keeps its files", "run -d --name $N $I sh -c 'echo x >>/tmp/runs; wc -l </tmp/runs; sleep 60' >/dev/null; eventually said 1; c restart -t 0 $N >/dev/null; eventually said 2; field '{{.State.Running}}'", out="true"),
    Operation("restart policy: on failure, twice", "run -d --restart on-failure:2 --name $N $I sh -c 'echo x >>/tmp/runs; exit 1' >/dev/null; eventually test \"$(:)\" = ''; eventually bash -c \"$(declare -f c field); N=$N; test \\$(field {{.RestartCount}}) = 2\"; c wait $N; field '{{.RestartCount}}'", out="1\n2"),
    Operation("pause: nothing runs, unpause goes on", """
        run -d --name $N $I sh -c 'while :; do echo x >>/tmp/n; sleep 0.02; done' >/dev/null; eventually c exec $N test -s /tmp/n; p=$(pid); c pause $N >/dev/null; field '{{.State.Status}} {{.State.Paused}}'
        one=$(wc -c </proc/$p/root/tmp/n); sleep 0.3; two=$(wc -c </proc/$p/root/tmp/n); [ $one = $two ] && echo still; cat /sys/fs/cgroup/freezer$(cgroup_of freezer $p)/freezer.state
        c unpause $N >/dev/null; eventually bash -c "[ \\$(wc -c </proc/$p/root/tmp/n) -gt $two ]"; field '{{.State.Status}}'""", out="paused true\nstill\nFROZEN\nrunning"),
    Operation("pause: a paused one can be killed", "run -d --name $N $I sleep 60 >/dev/null; c pause $N >/dev/null; c kill $N >/dev/null 2>&1; echo $?; gone $N >/dev/null; echo $?"),
    Operation("pause: a second time is an error", "run -d --name $N $I sleep 60 >/dev/null; c pause $N >/dev/null; c pause $N >/dev/null 2>&1 || echo refused; c unpause $N >/dev/null; c unpause $N >/dev/null 2>&1 || echo refused", out="refused\nrefused"),
    Operation("events: a life", "run --name $N $I true; c rm $N >/dev/null; c events --since $(($(date +%s) - 50)) --until $(($(date +%s) + 1)) --filter type=container --filter container=$N --format '{{.Status}}' | grep -oE '^(create|start|die|died|remove|destroy)'", says="start", filter="sorted", clients=DOCKER),
]

LIMITS = [
    Operation("limits: seen outside", """
        run -d --name $N --memory 64m --memory-swap 64m --memory-reservation 32m --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 --pids-limit 40 --blkio-weight 0 $I sleep 60 >/dev/null
        cgroup memory memory.limit_in_bytes; cgroup memory memory.memsw.limit_in_bytes; cgroup memory memory.soft_limit_in_bytes
        cgroup cpu cpu.cfs_quota_us; cgroup cpu cpu.cfs_period_us; cgroup cpu cpu.shares; cgroup cpuset cpuset.cpus; cgroup pids pids.max""",
              out="67108864\n67108864\n33554432\n50000\n100000\n512\n0\n40"),
    Operation("limits: seen inside", "run --rm --memory 64m --pids-limit 40 --cpus 0.5 $I sh -c 'cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us; ls | grep -v systemd'", says="67108864"),
    Operation("limits: the cgroup can't be written inside", "run --rm $I sh -c 'echo 1 >/sys/fs/cgroup/pids/pids.max' 2>err; [ $? -ne 0 ] && grep -ci 'read-only' err", out="1"),
    Operation("limits: what /proc/self/cgroup says inside", "run --rm $I sh -c \"cut -d: -f2,3 /proc/self/cgroup | sed 's/[0-9a-f]\\{64\\}/ID/' | grep -vE '^:|^name=systemd:'\"", filter="sorted"),
    Operation("limits: every controller has the container", "run -d --name $N $I sleep 60 >/dev/null; p=$(pid); for k in memory cpu cpuacct cpuset pids devices freezer blkio; do grep -qx $p /sys/fs/cgroup/$k$(cgroup_of $k $p)/cgroup.procs && echo $k; done", out="memory\ncpu\ncpuacct\ncpuset\npids\ndevices\nfreezer\nblkio"),
    Operation("limits: no more processes than said", "run --rm --pids-limit 10 $I sh -c 'for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do sleep 5 & done' 2>err; [ $? -ne 0 ] || true; grep -ci \"can't fork\" err", says="[1-9]"),
    Operation("limits: out of memory", "run --name $N --memory 24m --memory-swap 24m $I sh -c 'tail /dev/zero'; echo $?; field '{{.State.OOMKilled}} {{.State.ExitCode}}'", out="137\ntrue 137", clients=DOCKER),
    # Podman's conmon 2.1.6 hears of it on v1 only now and then: the flag isn't compared.
    Operation("limits: out of memory (Podman)", "run --rm --memory 24m --memory-swap 24m $I sh -c 'tail /dev/zero'", code=137, clients=PODMAN),
    Operation("limits: out of memory, in a child", "run --name $N --memory 24m --memory-swap 24m $I sh -c 'tail /dev/zero; echo $?; exit 4'; echo $?"),
    Operation("limits: oom_score_adj", "run --rm --oom-score-adj 300 $I cat /proc/self/oom_score_adj", out="300"),
    Operation("update: limits while it runs", """
        run -d --name $N --memory 64m --memory-swap 64m $I sleep 60 >/dev/null; c update --memory 96m --memory-swap 128m --cpus 0.25 --cpu-shares 700 $N >/dev/null
        cgroup memory memory.limit_in_bytes; cgroup memory memory.memsw.limit_in_bytes; cgroup cpu cpu.cfs_quota_us; cgroup cpu cpu.shares
        c update --memory 32m --memory-swap 32m $N >/dev/null; cgroup memory memory.limit_in_bytes; cgroup memory memory.memsw.limit_in_bytes; cgroup cpu cpu.shares""",
              out="100663296\n134217728\n25000\n700\n33554432\n33554432\n700"),
    Operation("update: the number of processes", "run -d --name $N --pids-limit 50 $I sleep 60 >/dev/null; c update --pids-limit 20 $N >/dev/null; cgroup pids pids.max", out="20", clients=DOCKER),
    Operation("ulimits", "run --rm --ulimit nofile=512:600 --ulimit core=0 $I sh -c 'ulimit -n; ulimit -Hn; ulimit -c; grep -E \"open files|core file\" /proc/self/limits'"),
    Operation("stats: one line", "run -d --name $N $I sleep 60 >/dev/null; c stats --no-stream --format '{{.Name}} {{.PIDs}}' $N | sed \"s/$N/it/\""),
    Operation("top", "run -d --name $N $I sh -c 'sleep 61 & sleep 62' >/dev/null; eventually c exec $N pidof sleep; c top $N | grep -oE 'sleep 6[12]' | sort"),
]

FILES = [
    Operation("mounts: the whole table", "run --rm $I cat /proc/self/mountinfo", filter="mounts", says="/proc proc"),
    Operation("mounts: with -t", "run --rm -t $I cat /proc/self/mountinfo", filter="mounts", says="/dev/console"),
    Operation("/dev: what is in it", "run --rm $I sh -c 'cd /dev; for f in $(find . | sort); do stat -c \"%n %F %a %u:%g %t,%T\" $f; done; for f in fd stdin stdout stderr ptmx; do readlink $f; done' | grep -vE '^\\./(shm|mqueue|pts)/'", says="./null character"),
    Operation("read-only root", "run --rm --read-only $I sh -c 'exec 2>&1; touch /x; touch /dev/shm/y && echo shm'", says="Read-only"),
    Operation("--tmpfs", "run --rm --tmpfs /t:size=1m,mode=1777 $I sh -c 'stat -c %a /t; df -k /t | tail -1 | tr -s \" \" | cut -d\" \" -f2; grep \" /t \" /proc/mounts | cut -d\" \" -f3'", out="1777\n1024\ntmpfs"),
    Operation("volume: bind, both ways", "echo in >from; run --rm -v $W:/v $I sh -c 'cat /v/from; echo out >/v/to'; cat to", out="in\nout"),
    Operation("volume: bind, read-only", "run --rm -v $W:/v:ro $I sh -c 'touch /v/x' 2>err; echo $?; grep -c Read-only err; ls | grep '^x$' || echo none", out="1\n1\nnone"),
    Operation("volume: a single file", "echo text >f; run --rm -v $W/f:/etc/given $I cat /etc/given", out="text"),
    Operation("volume: a file on a folder is refused", "touch f; run --rm --name $N -v $W/f:/etc $I true 2>err; [ $? -ne 0 ] && grep -ci 'not a directory' err", says="[1-9]"),
    Operation("volume: named, copied up from the image", "run --rm -v $N:/home/app $I sh -c 'stat -c %u /home/app; echo kept >/home/app/f'; run --rm -v $N:/h $I cat /h/f; c volume rm $N >/dev/null; echo $?", out="1000\nkept\n0"),
    Operation("volume: options", "run --rm --mount type=bind,source=$W,target=/v,readonly,bind-propagation=private $I sh -c 'grep \" /v \" /proc/self/mountinfo' | sed 's/.* - //' | cut -d' ' -f1"),
    Operation("volume: rslave shows what is mounted later", """
        mkdir s; mount -t tmpfs tmpfs s; mount --make-shared s; mkdir s/sub; run -d --name $N -v $W/s:/v:rslave $I sleep 60 >/dev/null
        mount -t tmpfs -o size=1m late s/sub; touch s/sub/seen; c exec $N ls /v/sub; gone $N >/dev/null; umount s/sub; umount s""", out="seen"),
    Operation("volume: rprivate doesn't", """
        mkdir s; mount -t tmpfs tmpfs s; mount --make-shared s; mkdir s/sub; run -d --name $N -v $W/s:/v:rprivate $I sleep 60 >/dev/null
        mount -t tmpfs -o size=1m late s/sub; touch s/sub/seen; c exec $N ls /v/sub; gone $N >/dev/null; umount s/sub; umount s""", out=""),
    Operation("volume: rshared goes out", """
        mkdir s; mount -t tmpfs tmpfs s; mount --make-shared s; mkdir s/sub; run --rm -v $W/s:/v:rshared --cap-add SYS_ADMIN --security-opt seccomp=unconfined $I sh -c 'mount -t tmpfs inside /v/sub && touch /v/sub/made'
        ls s/sub; umount s/sub; umount s""", out="made"),
    Operation("cp: in and out, running and stopped", """
        echo one >a; run -d --name $N $I sleep 60 >/dev/null; c cp a $N:/tmp/a; c exec $N cat /tmp/a; c exec $N sh -c 'echo two >/tmp/b'; c cp $N:/tmp/b b; cat b
        c kill $N >/dev/null; c wait $N >/dev/null; c cp $N:/tmp/b d; cat d""", out="one\ntwo\ntwo"),
    Operation("diff", "run --name $N $I sh -c 'touch /new; rm /etc/group' ; c diff $N | grep -E '/new|/etc/group'", filter="sorted"),
    Operation("the working folder is made", "run --rm -w /made/for/it $I sh -c 'pwd; ls -ld . | cut -c1-10'", clients=DOCKER),
    Operation("masked and read-only paths", "run --rm $I sh -c 'exec 2>&1; wc -c </proc/keys; wc -c </proc/timer_list; ls /sys/firmware | wc -l; echo 1 >/proc/sys/kernel/panic; touch /proc/bus/x; true'"),
]

IDENTITY = [
    Operation("user: root", "run --rm $I sh -c 'id; echo $HOME; umask; cat /proc/self/setgroups 2>/dev/null; cat /proc/self/uid_map'", differs=PRIMARY),
    Operation("user: a number", "run --rm -u 1000 $I sh -c 'id; echo $HOME'"),
    Operation("user: a name", "run --rm -u app $I sh -c 'id; echo $HOME; pwd'"),
    Operation("user: an unknown number", "run --rm -u 4242:4343 $I sh -c 'id; echo $HOME'"),
    Operation("user: more groups", "run --rm -u 1000:1000 --group-add 3000 --group-add extra $I id -G", says="3000"),
    Operation("user: an unknown name", "run --rm --name $N -u nobodyhere $I true 2>err; [ $? -ne 0 ] && grep -c nobodyhere err", says="[1-9]"),
    Operation("environment", "run --rm -e A=b -e EMPTY= --env-file <(echo F=g) $I env | grep -vE '^HOSTNAME=|^container=' | sort"),
    Operation("hostname", "run --rm --hostname named $I sh -c 'hostname; cat /etc/hostname; echo $HOSTNAME'", says="named"),
    Operation("hosts", "run --rm --add-host other:10.1.2.3 $I grep other /etc/hosts", says="10.1.2.3"),
    Operation("status: capabilities, seccomp, privileges", "run --rm $I grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups|Umask)' /proc/self/status", differs=PRIMARY),
    Operation("status of a user", "run --rm -u 1000 $I grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups|Umask)' /proc/self/status"),
    Operation("capabilities: none", "run --rm --cap-drop ALL $I sh -c 'exec 2>&1; grep -E ^Cap /proc/self/status; chown 1 /tmp'", code=1, says="Operation not permitted"),
    Operation("capabilities: one more and one less", "run --rm --cap-add NET_ADMIN --cap-drop CHOWN $I sh -c 'grep -E ^Cap /proc/self/status; ip link set lo mtu 1400 && echo set; chown 1 /tmp 2>/dev/null || echo refused'", says="refused"),
    Operation("capabilities: what is not there", "run --rm --name $N --cap-add NO_SUCH $I true 2>/dev/null || echo refused", out="refused"),
    Operation("privileged", "run --rm --privileged $I sh -c 'grep -E \"^(Cap(Eff|Bnd)|Seccomp:)\" /proc/self/status; ls /dev | grep -cE \"^(loop-control|fuse|kmsg)$\"; grep -c \" /sys .*ro,\" /proc/mounts; true'", clients=PODMAN),
    Operation("privileged (Docker asks for capabilities that root may lack)", "run --rm --name $N --privileged $I grep -E '^Cap(Eff|Bnd)' /proc/self/status; echo $?", clients=DOCKER, differs=UNGRANTED),
    Operation("no-new-privileges", "run --rm --security-opt no-new-privileges $I grep NoNewPrivs /proc/self/status", says="1"),
    Operation("sysctl", "run --rm --sysctl net.ipv4.ip_forward=1 --sysctl kernel.msgmax=4096 $I cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax", out="1\n4096"),
    Operation("devices: one of the host's", "run --rm --device /dev/fuse:/dev/given:rw $I sh -c 'stat -c \"%F %t,%T\" /dev/given; exec 3<>/dev/given && echo opened'", says="opened"),
    Operation("devices: others can be made but not used", "run --rm --cap-add MKNOD $I sh -c 'mknod /tmp/mem c 1 1 && head -c1 /tmp/mem' 2>&1", says="not permitted", code=1),
    Operation("devices: null, zero, random and tty are", "run --rm -t $I sh -c 'echo x >/dev/null && head -c4 /dev/zero | wc -c && head -c4 /dev/urandom | wc -c && : >/dev/tty && : </dev/full && echo fine' | tr -d '\\r'", out="4\n4\nfine"),
    Operation("devices: a rule", "run --rm --cap-add MKNOD --device-cgroup-rule 'c 10:229 rwm' $I sh -c 'mknod /tmp/fuse c 10 229 && exec 3<>/tmp/fuse && echo opened'", out="opened"),
    Operation("init", "run --rm --init $I sh -c 'ps -o pid,args | grep -c \"^ *1 .*-- sh\"'"),
    Operation("init: orphans are reaped", "run --rm --init $I sh -c '(sleep 0.1 & exit) ; sleep 0.5; ps -o stat | grep -c Z'", code=1, out="0"),
    Operation("/proc/self/limits", "run --rm $I cat /proc/self/limits"),
    Operation("the process has no fds but its three", "run --rm $I sh -c 'ls /proc/self/fd | grep -vE \"^(0|1|2|3)$\" | wc -l'", out="0"),
    Operation("its own session and no parent to see", "run --rm $I sh -c 'awk \"{ print \\$1, \\$4, \\$5, \\$6 }\" /proc/1/stat'"),
    Operation("signals: none is blocked or ignored", "run --rm $I grep -E '^Sig(Blk|Ign)' /proc/1/status", differs=RESET),
]

SECCOMP = [
    Operation("seccomp: on by default", "run --rm $I sh -c 'grep Seccomp: /proc/self/status; unshare -U true; echo $?; unshare -m true; echo $?' 2>/dev/null", says="Seccomp:\t2"),
    Operation("seccomp: unconfined", "run --rm --security-opt seccomp=unconfined $I grep Seccomp: /proc/self/status", out="Seccomp:\t0"),
    Operation("seccomp: a profile that forbids mkdir", """
        echo '{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],"syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":95}]}' >p.json
        run --rm --security-opt seccomp=$W/p.json $I sh -c 'touch /tmp/x && mkdir /tmp/y' 2>&1""", code=1, says="not supported"),
    Operation("seccomp: a profile that kills", """
        echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_KILL_PROCESS"}]}' >p.json
        run --rm --security-opt seccomp=$W/p.json $I sh -c 'mkdir /tmp/y; echo $?' 2>/dev/null""", out="159"),
    Operation("seccomp: arguments", """
        echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["kill"],"action":"SCMP_ACT_ERRNO","args":[{"index":1,"value":10,"op":"SCMP_CMP_EQ"}]}]}' >p.json
        run --rm --security-opt seccomp=$W/p.json $I sh -c 'kill -0 1; echo $?; kill -USR1 1; echo $?' 2>/dev/null""", out="0\n1"),
]

NAMESPACES = [
    Operation("namespaces: which are its own", "run -d --name $N $I sleep 60 >/dev/null; p=$(pid); for n in mnt pid net ipc uts user cgroup; do [ \"$(readlink /proc/$p/ns/$n)\" = \"$(readlink /proc/self/ns/$n)\" ] && echo $n shared || echo $n own; done"),
    Operation("namespaces: the host's network", "c run --network host ${F[@]:2} --rm $I sh -c 'readlink /proc/self/ns/net' >in; [ $(cat in) = $(readlink /proc/self/ns/net) ] && echo same", out="same"),
    Operation("namespaces: the host's pids and ipc", "run --rm --pid host --ipc host $I sh -c 'readlink /proc/self/ns/pid; readlink /proc/self/ns/ipc' >in; diff in <(readlink /proc/self/ns/pid /proc/self/ns/ipc) && echo same", out="same"),
    Operation("namespaces: the host's name", "run --rm --uts host $I hostname >in; [ \"$(cat in)\" = \"$(hostname)\" ] && echo same", out="same"),
    Operation("namespaces: another container's", """
        run -d --name $N --ipc shareable $I sleep 60 >/dev/null; c run --rm --network container:$N --pid container:$N --ipc container:$N ${F[@]:2} $I sh -c 'ps -o args | grep -c "^sleep 60"; readlink /proc/self/ns/net' >in
        sed -n 1p in; [ "$(sed -n 2p in)" = "$(readlink /proc/$(pid)/ns/net)" ] && echo same""", out="1\nsame"),
    Operation("namespaces: with the host's pids every process still ends", "run -d --pid host --name $N $I sh -c 'sleep 765 & sleep 765 & wait' >/dev/null; eventually c exec $N true; p=$(cgroup pids cgroup.procs); echo $p | wc -w; gone $N >/dev/null 2>&1; eventually sh -c 'for p; do [ ! -e /proc/$p ] || exit 1; done' sh $p; echo gone", out="3\ngone"),
    Operation("user namespace", "run --rm --uidmap 0:200000:65536 --gidmap 0:200000:65536 $I sh -c 'id -u; cat /proc/self/uid_map; touch /tmp/f && stat -c %u /tmp/f; touch /proc/sys/kernel/panic 2>&1 | grep -c .'", clients=PODMAN),
    Operation("user namespace: exec and a terminal", "run -d --name $N --uidmap 0:200000:65536 --gidmap 0:200000:65536 $I sleep 60 >/dev/null; c exec $N cat /proc/self/uid_map; c exec -t $N sh -c 'stat -c %u $(tty); tty >/dev/null && echo yes' | tr -d '\\r'", clients=PODMAN),
    Operation("a pod shares what it should", """
        c pod create --name $N --network none --share net,ipc,uts --infra=true --infra-image $I --infra-command 'sleep 60' --cgroup-parent $PARENT >/dev/null 2>err || cat err
        c pod rm -f $N >/dev/null 2>&1; echo done""", clients=()),
]

HEALTH = [
    Operation("health: healthy", "run -d --name $N --health-cmd 'test -e /tmp/ok' --health-interval 1s --health-retries 1 $I sh -c 'touch /tmp/ok; sleep 60' >/dev/null; eventually bash -c \"$(declare -f c field); N=$N; [ \\$(field {{.State.Health.Status}}) = healthy ]\"; field '{{.State.Health.Status}}'", out="healthy", clients=DOCKER),
    Operation("health: run by hand", "run -d --name $N --health-cmd 'test -e /tmp/ok' --health-interval disable $I sleep 60 >/dev/null; c healthcheck run $N; echo $?; c exec $N touch /tmp/ok; c healthcheck run $N; echo $?", says="0", clients=PODMAN),
]

PODMAN_ONLY = [
    Operation("podman: the version is asked for", "$RUNTIME --version | head -1 | grep -cE '^[a-z-]+ version [0-9]'", out="1", clients=PODMAN),
    Operation("podman: info names the runtime", "c info --format '{{.Host.OCIRuntime.Version}}' | grep -c version", says="[1-9]", clients=PODMAN),
    Operation("podman: a rootfs instead of an image", "mkdir -p r/bin r/proc r/sys r/dev r/etc; cp /bin/busybox r/bin/busybox; run --rm --rootfs $W/r /bin/busybox echo here", out="here", clients=PODMAN),
    Operation("podman: without cgroups", "c run --network none ${F[@]:4} --cgroups disabled --rm $I echo here", out="here", clients=()),
    Operation("podman: preserve-fds", "exec 3<<<third; run --rm --preserve-fds 1 $I sh -c 'cat <&3'", out="third", clients=PODMAN),
    Operation("podman: told that the runtime logs JSON", """
        printf '[engine]\\nruntime_supports_json = ["%s"]\\n' "$(basename $RUNTIME)" >conf; export CONTAINERS_CONF=$W/conf
        run --rm $I echo fine; run --rm --name $N $I no-such-program""", code=127, out="fine", says="executable file not found", clients=PODMAN),
    Operation("podman: umask", "run --rm --umask 0077 $I sh -c umask", out="0077", clients=PODMAN),
    Operation("podman: its own cgroup namespace", "run --rm --cgroupns private $I sh -c 'cut -d: -f2,3 /proc/self/cgroup | grep -vE \"^:|^name=systemd:\" | sort'", clients=PODMAN),
    Operation("podman: a hook that is called", """
        mkdir hooks; printf '#!/bin/sh\\ncat >%s/state\\n' $W >h; chmod +x h
        echo '{"version":"1.0.0","hook":{"path":"'$W/h'"},"when":{"always":true},"stages":["createRuntime"]}' >hooks/h.json
        c --hooks-dir $W/hooks run ${F[@]} --rm $I true; jq -r '.status, (.pid > 0), (.bundle | length > 0)' state""", clients=PODMAN),
    Operation("podman: timezone and secrets are binds", "echo hidden | c secret create $N - >/dev/null; run --rm --secret $N,target=given $I cat /run/secrets/given; c secret rm $N >/dev/null", out="hidden", clients=PODMAN),
]

ALL = [*RUN, *TERMINAL, *DETACHED, *EXEC, *SIGNALS, *LIMITS, *FILES, *IDENTITY, *SECCOMP, *NAMESPACES, *HEALTH, *PODMAN_ONLY]


def for_client(name):
    return [operation for operation in ALL if name in operation.clients]
