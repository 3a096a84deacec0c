---@meta lunette
-- Made from the API registry (Sources/LunetteAPI/Registry); LUNETTE_RECORD=1 records it again.

---@class lunette.Error
---@field code string
---@field message string
---@field path string?
---@field operation string?
---@field target string?
---@field hint string?
---@field traceback string?
---@field errno integer?
---@field details any
---@field cause lunette.Error?
---@field is fun(self, code: string): boolean

---@class lunette.Subscription
---@field off fun(self)

---@class lunette.Timer
---@field off fun(self)

---@class lunette.Task
---@field await fun(self): any
---@field cancel fun(self): boolean

---What an apply of several objects came to.
---@class lunette.Applied
---@field volumes table<string, lunette.volume> those of the call by name; with `dry_run` those that are there
---@field containers table<string, lunette.container> those of the call by name; with `dry_run` those that are there
---@field changed string[] what was made and changed: `"container web: resources.memory"`; empty: all was as described

---Who did what, and what came of it.
---@class lunette.AuditEntry
---@field time number when it was asked for
---@field call string what was called; `connect` of who wasn't let in
---@field target? string the name of what it was done to
---@field outcome string `"ok"` or an error's code
---@field reason? string of a refusal: the words of who refused it
---@field by? string of a refusal: the hook or the socket
---@field left_out? integer refusals of this user at this socket before it that aren't written: 30 a minute are
---@field uid integer who asked, by the kernel's word
---@field pid integer the calling process, likewise; the engine's own of resident scripts
---@field script? string the script or command, by the caller's word
---@field line? integer the script's line, likewise
---@field socket? string which of the resident scripts' sockets it came over
---@field cause? string[] what it was called because of: ids of requests, events and hooks, the oldest first
---@field request string its id
---@field seconds number how long it took

---A growing wait.
---@class lunette.Backoff
---@field initial? number|string the first
---@field max? number|string the longest

---One copy step of a build.
---@class lunette.BuildCopy
---@field from string host file or folder
---@field to string absolute path in the image
---@field mode? string|integer permission bits, octal as text (`"0755"`)
---@field owner? string `uid:gid` in the image

---Changes to the default capability list.
---@class lunette.Capabilities
---@field add? string[] `"NET_ADMIN"` or `"CAP_NET_ADMIN"`; `"ALL"`
---@field drop? string[] as `add`

---What a check found.
---@class lunette.CheckResult
---@field problems any[] `kind`, `what`, `repaired` each
---@field checked string[] what was looked at

---All about a container.
---@class lunette.ContainerInfo
---@field id string 64 hexadecimal digits
---@field name string its name
---@field status "creating"|"created"|"running"|"paused"|"stopped" where in its life it is
---@field state string its lifecycle's state
---@field pid? integer process 1 as the host sees it; absent when it does not run
---@field image table<string, string> `ref` and `digest`
---@field spec lunette.ContainerSpec as normalised
---@field labels table<string, string> marks
---@field health table<string, any> `status` (`none`, `starting`, `healthy`, `unhealthy`), `failures` in a row, and the last one's `message`
---@field exit? lunette.Exit how it last ended; absent before
---@field restarts integer how often it was started again
---@field created_at number when it was made
---@field started_at? number when it last started; absent before
---@field restart_at? number when its policy starts it again; absent when none is due
---@field networks any[] attachments
---@field ports any[] published ports
---@field mounts any[] mounts as made
---@field history any[] earlier states
---@field landlock? table<string, integer> with rules: `abi`, the kernel's version of Landlock, 0 for none
---@field degraded string[] what does not hold as asked, and why, in words
---@field not_enforced lunette.NotEnforced[] what of the spec nothing holds in its last run
---@field id_range? table<string, integer> `first` and `count` of the host's ids that are its own
---@field actor table<string, any> who made it: `uid`, `pid`, `script`
---@field start_profile? table<string, number> seconds by phase of the last start
---@field launch_plan? string the plan's printable form, when asked for

---What a container is to be.
---@class lunette.ContainerSpec
---@field name? string unique; letters, digits, `_`, `.` and `-`
---@field image? lunette.image the image to run
---@field rootfs? string a folder to run instead of an image
---@field entrypoint? string[]|string replaces the image's
---@field args? string[]|string replaces the image's command
---@field env? table<string, string> added to the image's
---@field workdir? string where it starts
---@field user? string `name`, `uid`, `uid:gid` or `name:group`
---@field hostname? string its host name
---@field labels? table<string, string> the user's own marks
---@field tty? boolean give it a pty
---@field stdin? boolean keep stdin open
---@field init? boolean a reaping init as process 1
---@field mounts? lunette.Mount[] volumes, host folders, tmpfs
---@field readonly_rootfs? boolean its root can't be written
---@field network? string|string[] `"none"`, `"host"`, `"container:NAME"` or networks
---@field pod? boolean|string true: no image and no program, namespaces for others to share; a name: that pod's `network` and `ipc`
---@field pid? string `"private"` or `"container:NAME"`
---@field ipc? string `"private"` or `"container:NAME"`
---@field publish? (string|lunette.PublishedPort)[] ports to open on the host
---@field dns? string[] name servers
---@field resources? lunette.Resources limits
---@field rlimits? table<string, any> `nofile = 1024` or `nofile = { soft =, hard = }`
---@field sysctls? table<string, any> kernel settings of its own namespaces
---@field devices? any[] host devices it may use
---@field security? lunette.Security what it may do
---@field restart? "never"|"on_failure"|"always"|lunette.Restart when it is started again
---@field health? lunette.Health|boolean how its health is checked; false: not even as its image says
---@field lifecycle? string the lifecycle of a resident script that it follows
---@field stop? lunette.Stop how it is stopped
---@field log? lunette.Log how its log is kept
---@field remove_on_exit? boolean remove it when it ends
---@field time_limit? number|string it is killed after this long
---@field lifetime? "script" removed when the script that made it ends
---@field oci? lunette.OCIChanges exact OCI runtime-spec JSON, merged over what is made

---Something that happened or is about to.
---@class lunette.Event
---@field name string `container.exited`
---@field sequence integer its number in the log; 0 for `before`
---@field time number when
---@field target table<string, string> `kind`, `id`, `name`
---@field container? lunette.container for events of a container
---@field spec? table<string, any> `before`: what is asked for, normalised
---@field exit? lunette.Exit `container.exited`
---@field pressure? table<string, any> `container.pressure`: `resource`, `share` and `limit` percent, `window` seconds
---@field limited? table<string, any> `container.limited`: `resource` (`"memory"`, `"pids"`), `limit`, `hits`
---@field actor table<string, any> `uid`, `pid`, `script`, `line`, `socket`
---@field cause string[] what it happened because of
---@field redelivered boolean it may have been seen before

---Which events are meant; all given must hold.
---@class lunette.EventMatch
---@field name? string|string[] event names; `container.*` for all of a noun
---@field labels? table<string, string|nil> the target has these labels; `lunette.null`: whatever the value
---@field target? string the target's name or id
---@field kind? string the target's noun
---@field driver? string the volume's or network's driver
---@field lifecycle? string the lifecycle that the container follows
---@field memory? string `container.pressure`: processes waited for memory for that share of the time: `">10% 10s"`
---@field cpu? string likewise for a processor
---@field io? string likewise for a disk

---How a command ended.
---@class lunette.ExecResult
---@field code integer exit code; 128 + n by signal n
---@field signal? string `"SIGKILL"`; absent when it exited
---@field stdout? string what it wrote, when captured
---@field stderr? string what it wrote, when captured
---@field truncated? boolean more than 16 MiB was written; the rest was dropped
---@field pid? integer with `detach`, and then alone: its process on the host

---How a container ended.
---@class lunette.Exit
---@field code integer exit code; 128 + n by signal n
---@field signal? string `"SIGKILL"`; absent when it exited
---@field oom_killed boolean the kernel killed it for want of memory
---@field reason "exited"|"signal"|"oom"|"seccomp"|"time_limit"|"start_failed"|"stopped"|"hook"|"lost" why; `lost`: its shim was killed, so nobody saw the program's own status
---@field finished_at number when

---What a value is held to; each has a `not_…` beside it.
---@class lunette.Expectation
---@field to_equal fun(self: lunette.Expectation, value: any): lunette.Expectation equal, tables by their contents; the report shows where they differ
---@field not_to_equal fun(self: lunette.Expectation, value: any): lunette.Expectation not: equal, tables by their contents; the report shows where they differ
---@field to_be fun(self: lunette.Expectation, value: any): lunette.Expectation the same value or object
---@field not_to_be fun(self: lunette.Expectation, value: any): lunette.Expectation not: the same value or object
---@field to_match fun(self: lunette.Expectation, value: string|table<string, any>): lunette.Expectation a text with a Lua pattern, a table with these fields
---@field not_to_match fun(self: lunette.Expectation, value: string|table<string, any>): lunette.Expectation not: a text with a Lua pattern, a table with these fields
---@field to_contain fun(self: lunette.Expectation, value: any): lunette.Expectation a text with this in it, a list with this item, a table with these fields
---@field not_to_contain fun(self: lunette.Expectation, value: any): lunette.Expectation not: a text with this in it, a list with this item, a table with these fields
---@field to_raise fun(self: lunette.Expectation, value: any|nil): lunette.Expectation a function that raises: a code, a pattern, or fields of the error
---@field not_to_raise fun(self: lunette.Expectation, value: any|nil): lunette.Expectation not: a function that raises: a code, a pattern, or fields of the error
---@field to_have_length fun(self: lunette.Expectation, value: integer): lunette.Expectation `#value`
---@field not_to_have_length fun(self: lunette.Expectation, value: integer): lunette.Expectation not: `#value`
---@field to_be_nil fun(self: lunette.Expectation): lunette.Expectation nil
---@field not_to_be_nil fun(self: lunette.Expectation): lunette.Expectation not: nil
---@field to_be_true fun(self: lunette.Expectation): lunette.Expectation true itself
---@field not_to_be_true fun(self: lunette.Expectation): lunette.Expectation not: true itself
---@field to_be_false fun(self: lunette.Expectation): lunette.Expectation false itself
---@field not_to_be_false fun(self: lunette.Expectation): lunette.Expectation not: false itself
---@field to_be_a fun(self: lunette.Expectation, value: string): lunette.Expectation of a Lua type, `integer`, `float`, or a handle (`container`)
---@field not_to_be_a fun(self: lunette.Expectation, value: string): lunette.Expectation not: of a Lua type, `integer`, `float`, or a handle (`container`)
---@field to_be_above fun(self: lunette.Expectation, value: number): lunette.Expectation greater
---@field not_to_be_above fun(self: lunette.Expectation, value: number): lunette.Expectation not: greater
---@field to_be_below fun(self: lunette.Expectation, value: number): lunette.Expectation less
---@field not_to_be_below fun(self: lunette.Expectation, value: number): lunette.Expectation not: less
---@field to_be_at_least fun(self: lunette.Expectation, value: number): lunette.Expectation not less
---@field not_to_be_at_least fun(self: lunette.Expectation, value: number): lunette.Expectation not: not less
---@field to_be_at_most fun(self: lunette.Expectation, value: number): lunette.Expectation not greater
---@field not_to_be_at_most fun(self: lunette.Expectation, value: number): lunette.Expectation not: not greater
---@field to_be_near fun(self: lunette.Expectation, value: number, tolerance?: number): lunette.Expectation within a tolerance, the second argument (1e-6)
---@field not_to_be_near fun(self: lunette.Expectation, value: number, tolerance?: number): lunette.Expectation not: within a tolerance, the second argument (1e-6)

---A file that differs from the image's.
---@class lunette.FileChange
---@field path string absolute, in the container
---@field change "added"|"changed"|"removed" what became of it

---A file on the host.
---@class lunette.FileTarget
---@field file string its path

---What a server answered.
---@class lunette.HTTPResponse
---@field status integer `200`, `404` …
---@field headers table<string, string> names in lower case; repeated ones joined by a comma
---@field body string as it came

---How a container's health is checked, while it runs; one of `exec`, `http` and `tcp`.
---@class lunette.Health
---@field exec? string[]|string a command in the container; exit code 0 is a success
---@field http? lunette.HealthHTTP a GET on its loopback; a status of 200 to 399 is a success
---@field tcp? lunette.HealthTCP a connection on its loopback
---@field period? number|string from the end of one check to the next
---@field timeout? number|string a check has failed after this long
---@field failure_threshold? integer failures in a row that make it unhealthy
---@field start_period? number|string failures don't count for this long after the start
---@field start_interval? number|string between checks until the first success
---@field on_unhealthy? "none"|"restart"|"stop" what follows; a lifecycle's `unhealthy` comes before it

---A request that tells of health.
---@class lunette.HealthHTTP
---@field path? string what is asked for
---@field port integer the port

---A connection that tells of health.
---@class lunette.HealthTCP
---@field port integer the port

---What containers of an image get by default.
---@class lunette.ImageConfig
---@field entrypoint? string[]|string the program
---@field cmd? string[]|string its arguments, or the command
---@field env? table<string, string> environment
---@field workdir? string where it starts
---@field user? string who it runs as
---@field exposed_ports? (string|integer)[] ports it listens on (`"80/tcp"`)
---@field labels? table<string, string> marks
---@field volumes? string[] paths that should be volumes
---@field stop_signal? string the polite signal

---One step of an image.
---@class lunette.ImageHistory
---@field created_at? number when
---@field created_by? string the command
---@field comment? string a remark
---@field empty_layer? boolean it made no layer

---All about an image.
---@class lunette.ImageInfo
---@field id string the config's digest
---@field digest string the manifest's digest
---@field refs string[] its references
---@field size number|string bytes on disk, unpacked
---@field layers any[] digest, size and media type of each
---@field config table<string, any> as in `image.build`
---@field created_at number when it was built
---@field platform string `os/architecture`
---@field labels table<string, string> marks

---What Landlock leaves; each list restricts its own kind, what isn't named is left to the other layers.
---@class lunette.Landlock
---@field read? string[] paths that are read, and executed unless `execute` is given
---@field write? string[] paths that are changed as well
---@field execute? string[] paths that are executed; nothing else is then
---@field ioctl? string[] devices that take ioctl
---@field connect? integer[] TCP ports that may be connected to
---@field bind? integer[] TCP ports that may be listened on
---@field scope? ("abstract_socket"|"signal")[] what of processes outside stays out of reach
---@field required? boolean refuse to start where the kernel can't hold all of it

---A program for the life of containers; a function that is left out: as without a lifecycle.
---@class lunette.Lifecycle
---@field prepare? fun(value: lunette.Event) before a container is made: `ev:amend { … }`, `ev:deny(reason)`
---@field started? fun(value: lunette.container) it runs
---@field ready? fun(value: lunette.container) its health check has succeeded for the first time
---@field unhealthy? fun(value: lunette.container) its health check has failed; gets how often, too
---@field oom? fun(value: lunette.container) memory has run out
---@field pressure? any `{ match = { memory = ">10% 10s" }, f }`
---@field stop? fun(value: lunette.container) the stop sequence; what still runs after it gets the signal
---@field exited? fun(value: lunette.container) gets `exit` and `attempts`, too; returns `"restart"`, `"keep"`, `"remove"` or `{ restart = { after = "2s" } }`
---@field removed? fun(value: string) gets its name
---@field states? table<string, lunette.LifecycleState> states of its own, within running

---A state of a lifecycle's own.
---@class lunette.LifecycleState
---@field from? string[] where it is entered from
---@field to? string[] where it is left to
---@field enter? fun(value: lunette.container) runs when it is entered
---@field leave? fun(value: lunette.container) runs when it is left
---@field timeout? number|string how long it may last
---@field on_timeout? string the state that follows then

---How a container's log is kept.
---@class lunette.Log
---@field max_size? number|string a file is rotated at this size
---@field max_files? integer files kept

---One line of a log; Lua's iterator gives `data`.
---@class lunette.LogLine
---@field stream "stdout"|"stderr" where it was written
---@field data string the line without its line feed
---@field time number when it was read
---@field sequence integer its number in the log
---@field partial? boolean the line goes on in the next one

---Something mounted in a container.
---@class lunette.Mount
---@field type "volume"|"bind"|"tmpfs"|"image"|"secret"|"config" what is mounted
---@field source? string volume name, host path, image reference
---@field target string where, an absolute path in the container
---@field readonly? boolean it can't be written there
---@field fork? boolean a copy-on-write copy for this run
---@field options? table<string, any> by type: `size`, `mode`, `propagation`, `subpath` …

---A part of a container's spec that nothing holds.
---@class lunette.NotEnforced
---@field field string which: `"resources.memory"`; `"resources"` for all limits
---@field why string what is missing, or what gives it away
---@field asked boolean whether the call or the spec asks for it, rather than a default

---OCI runtime-spec JSON, by its own names.
---@class lunette.OCIChanges
---@field ociVersion? string the specification's version
---@field process? table<string, any> the program
---@field root? table<string, any> the root file system
---@field hostname? string the host name
---@field domainname? string the NIS domain name
---@field mounts? any[] mounts
---@field hooks? table<string, any> programs that are run at points of its life
---@field annotations? table<string, string> marks
---@field linux? table<string, any> namespaces, cgroups, devices, seccomp

---A plugin.
---@class lunette.PluginInfo
---@field name string its name
---@field version string its version
---@field status string `running`, `disabled` or `failed`
---@field provides table<string, string[]> drivers by extension point
---@field permissions string[] granted
---@field path string its folder
---@field error? string why it failed
---@field summary? string what it is for

---An answer.
---@class lunette.Pong
---@field time number the engine's clock
---@field root? string where its lasting state is
---@field config? string the folder of its settings

---One process.
---@class lunette.ProcessInfo
---@field pid integer as the host sees it
---@field container_pid? integer as the container sees it
---@field user? string uid in the container
---@field command string its command line
---@field started_at? number when it started
---@field memory? number|string resident bytes
---@field cpu? number seconds used

---What a program that a test plays does.
---@class lunette.Program
---@field code? integer its exit code
---@field signal? string the signal that ends it
---@field after? number|string when it ends
---@field stdout? string what it writes
---@field stderr? string what it writes to stderr
---@field ignores? string[] signals that don't end it
---@field runs? boolean an exec: until it is killed
---@field times? integer for how many starts this holds

---How far a step is.
---@class lunette.Progress
---@field phase string `resolve download verify unpack commit upload copy run`
---@field digest? string the blob it is about
---@field current integer bytes or steps done
---@field total? integer of how many; absent when unknown
---@field message? string a line of a run step's output

---What was removed.
---@class lunette.PruneResult
---@field removed string[] names or ids
---@field reclaimed number|string bytes freed

---A port opened on the host.
---@class lunette.PublishedPort
---@field host_ip? string the address it is opened on
---@field host_port? integer 0: any free one
---@field container_port integer the port inside
---@field protocol? "tcp"|"udp" the protocol

---What was pushed.
---@class lunette.PushResult
---@field digest string the manifest's digest

---What a removal took.
---@class lunette.RemovedImage
---@field untagged string[] references removed
---@field removed boolean the image itself is gone

---A container's limits.
---@class lunette.Resources
---@field memory? number|string memory it may use
---@field memory_swap? number|string memory and swap together
---@field memory_reservation? number|string what it is left under pressure
---@field cpus? number processors' worth of time (1.5)
---@field cpu_shares? integer weight against others, 2–262144
---@field cpuset? string the processors it may use (`"0-1,3"`)
---@field pids? integer processes and threads it may have
---@field io_weight? integer weight against others, 1–10000
---@field shm_size? number|string the size of its /dev/shm
---@field storage? number|string what it may write to its root
---@field oom? "process"|"group" what the kernel kills when memory runs out
---@field hugepages? table<string, any> limits by page size

---When a container is started again.
---@class lunette.Restart
---@field policy "never"|"on_failure"|"always" `always` remembers a user's stop
---@field backoff? lunette.Backoff the wait between attempts
---@field max_attempts? integer give up after this many in a row

---How a sandboxed command ended.
---@class lunette.SandboxResult
---@field code integer exit code; 128 + n by signal n
---@field signal? string `"SIGKILL"`; absent when it exited
---@field stdout? string what it wrote, when captured
---@field stderr? string what it wrote, when captured
---@field truncated? boolean more than 16 MiB was written; the rest was dropped
---@field oom_killed? boolean it ran out of memory
---@field denied table<string, any>[] with `report`: `{ action, path, rule }` for what was asked for outside the rules
---@field not_enforced string[] limits that nothing holds here

---What a reload changed.
---@class lunette.ScriptChange
---@field added string[] scripts that are new
---@field changed string[] scripts that are another, or whose modules are
---@field removed string[] scripts that are gone
---@field objects table<string, any>[] what became of what they want there to be, as in `ScriptPlan`

---A resident script.
---@class lunette.ScriptInfo
---@field name string `init`, or `conf.d/` and its name
---@field file string as errors name it
---@field path string where it lies
---@field origin string `settings`: a file of the settings' folder; `applied`: by `lunette apply`
---@field status string `running`; `last_good` where the file is broken and what was loaded before runs; `not_started` where its function `start` has raised: its handlers are there
---@field handlers integer how many it has registered
---@field lifecycles string[] those it has registered
---@field objects table<string, any>[] what it wants there to be: `kind`, `name`, `place`
---@field grants? string[] what an applied one may call
---@field error? string what is wrong with what is on the disk, or what its function `start` has raised

---What installing a script changes.
---@class lunette.ScriptPlan
---@field script string its name
---@field action string `create`, `update` or `same`
---@field handlers table<string, any>[] those it registers, as `hook.list` has them
---@field lifecycles table<string, any>[] `name`, `place`
---@field sockets table<string, any>[] those it opens: `name`, `path`, `owner`, `group`, `mode`, and the `filter` that judges its users in words
---@field objects table<string, any>[] `kind`, `name`, `action` (`create update same conflict remove leave`), the `fields` that differ, `place`, `error`, and what a container has of the machine (`reaches`: `privileged`, a path of the host's …)
---@field grants string[] what it may call
---@field lacking string[] functions that its source seems to call and that it may not

---What a container may do.
---@class lunette.Security
---@field user_namespace? boolean its own ids
---@field privileged? boolean everything the engine may
---@field capabilities? lunette.Capabilities added to or dropped from the default list
---@field seccomp? "default"|"unconfined"|string|table<string, any> system call filter: a profile's path or table
---@field no_new_privileges? boolean set-id programs gain nothing
---@field masked_paths? string[] paths hidden from it
---@field readonly_paths? string[] paths it can't write
---@field landlock? lunette.Landlock a further layer over files, TCP ports and other processes
---@field apparmor? string profile
---@field selinux? string label

---What a start came to.
---@class lunette.Started
---@field started boolean false when it ran already
---@field not_enforced lunette.NotEnforced[] what of the spec nothing holds

---A container's counters.
---@class lunette.Stats
---@field time number when they were read
---@field cpu table<string, number> `used` seconds, `user`, `system`, `throttled`
---@field memory table<string, number> `used`, `limit`, `cache`, `peak` bytes; `limit_hits`: how often it met the limit
---@field pids table<string, number> `current`, `limit`, `limit_hits`
---@field io table<string, number> `read`, `written` bytes
---@field pressure? table<string, any> `cpu`, `memory`, `io`: `some` and `full` with `avg10` `avg60` `avg300` percent, `total` microseconds; nil on cgroup v1

---How a container is stopped.
---@class lunette.Stop
---@field signal? string|integer the polite one
---@field grace_period? number|string then SIGKILL

---A stored value.
---@class lunette.StoreEntry
---@field version integer grows with each change; 0 when there is none
---@field value? any absent when there is none

---The engine and its machine.
---@class lunette.SystemInfo
---@field version string the engine's
---@field root string where lasting state is
---@field state string where passing state is
---@field pid integer the engine's
---@field kernel string release
---@field cgroup_version integer 1 or 2
---@field rootless boolean whether it is an ordinary user's engine
---@field not_enforced string[] what this machine or user lacks for every container
---@field containers table<string, integer> by status
---@field images integer how many
---@field stay_reasons string[] why an engine on demand stays
---@field started_at number when the engine started

---Versions.
---@class lunette.SystemVersion
---@field version string the engine's
---@field api integer the API's
---@field commit? string the source's

---What `before` handlers made of a question.
---@class lunette.TestAnswer
---@field allowed boolean whether nobody denied it
---@field spec? table<string, any> as amended
---@field notes? string[] who changed what
---@field reason? string why it was denied
---@field hook? string by whom
---@field message? string what its caller is told

---A script that a test loaded; of a resident script `handlers` and `has_timers`, of a plugin its description.
---@class lunette.TestedScript
---@field output? string what it wrote to stdout
---@field errors? string to stderr, and its log
---@field code? integer its exit code, once it has ended
---@field ok? boolean whether that is 0
---@field error? any what it failed with
---@field is_running? boolean whether it hasn't ended
---@field wait fun(self: lunette.TestedScript): lunette.TestedScript waits until it has ended
---@field stop fun(self: lunette.TestedScript): lunette.TestedScript ends it as Ctrl-C does

---What an update came to.
---@class lunette.Updated
---@field not_enforced lunette.NotEnforced[] what of the spec nothing holds

---All about a volume.
---@class lunette.VolumeInfo
---@field id string its id
---@field name string its name
---@field driver string its driver
---@field size? number|string what it may hold
---@field labels table<string, string> marks
---@field options table<string, any> the driver's
---@field created_at number when it was made
---@field users string[] containers that mount it

---What a volume is to be.
---@class lunette.VolumeSpec
---@field driver? string the volume driver
---@field size? number|string how much it may hold; the driver says whether it is enforced
---@field labels? table<string, string> the user's own marks
---@field options? table<string, any> the driver's own options

---How full a volume is.
---@class lunette.VolumeUsage
---@field used number|string bytes
---@field limit? number|string bytes; absent without one
---@field inodes? integer files
---@field enforced boolean the limit can't be passed

---@class lunette.container
---@field id string
---@field name string
local container_handle = {}

---Describe a container.
---@param options? { launch_plan?: boolean }
---@return lunette.ContainerInfo
function container_handle:inspect(options) end

---Start a container that was created or has stopped; one that runs is left as it is.
---@param options? { rows?: integer, columns?: integer }
---@return lunette.Started
function container_handle:start(options) end

---End a container: its stop signal, then SIGKILL after the grace period.
---@param options? { grace_period?: number|string }
---@return lunette.Exit
function container_handle:stop(options) end

---Send a signal to a container's first process.
---@param signal? string|integer `"SIGTERM"`, `"TERM"` or a number
function container_handle:kill(signal) end

---Stop a container and start it again.
---@param options? { grace_period?: number|string }
---@return lunette.Started
function container_handle:restart(options) end

---Freeze a container's processes.
function container_handle:pause() end

---Thaw a paused container.
function container_handle:resume() end

---Remove a container.
---@param options? { force?: boolean, volumes?: boolean }
function container_handle:remove(options) end

---Give a container another name.
---@param name string the new name
function container_handle:rename(name) end

---Change what may change while it exists.
---@param options? { resources?: lunette.Resources, labels?: table<string, string|nil>, restart?: "never"|"on_failure"|"always"|lunette.Restart }
---@return lunette.Updated
function container_handle:update(options) end

---Wait until a container has stopped; at once when it has.
---@param options? { timeout?: number|string }
---@return lunette.Exit
function container_handle:wait(options) end

---Run a command in a running container; a non-zero exit is a result, not an error.
---@param args string[]|string program and arguments; a string is run by `/bin/sh -c`
---@param options? { env?: table<string, string>, workdir?: string, user?: string, tty?: boolean, timeout?: number|string, check?: boolean, stdin?: string|"inherit"|"null"|lunette.FileTarget, stdout?: "capture"|"inherit"|"null"|lunette.FileTarget|fun(value: string), stderr?: "capture"|"inherit"|"null"|lunette.FileTarget|fun(value: string), detach?: boolean, rows?: integer, columns?: integer }
---@return lunette.ExecResult
function container_handle:exec(args, options) end

---Tell a container's (or an exec's) pty its size.
---@param options { rows: integer, columns: integer, exec?: string }
function container_handle:resize(options) end

---Leave an exec running whose end a call waits for: that call returns.
---@param options { exec: string }
function container_handle:detach(options) end

---Connect to a running container's streams until they end.
---@param options? { logs?: boolean }
---@return lunette.Exit
function container_handle:attach(options) end

---Read a container's log.
---@param options? { stdout?: boolean, stderr?: boolean, since?: number|number|string, until?: number|number|string, tail?: integer, timestamps?: boolean }
---@return string
function container_handle:logs(options) end

---Stream a container's log, line by line, until it has ended.
---@param options? { stdout?: boolean, stderr?: boolean, since?: number|number|string, until?: number|number|string, tail?: integer, timestamps?: boolean, follow?: boolean }
---@return fun(): lunette.LogLine
function container_handle:follow_logs(options) end

---Copy a host file or folder into a container.
---@param source string the host's path
---@param destination string the path in the container
---@param options? { archive?: boolean, follow_link?: boolean }
function container_handle:copy_in(source, destination, options) end

---Copy a file or folder out of a container.
---@param source string the path in the container
---@param destination string the host's path
---@param options? { archive?: boolean, follow_link?: boolean }
function container_handle:copy_out(source, destination, options) end

---Read a running container's counters.
---@return lunette.Stats
function container_handle:stats() end

---List a running container's processes.
---@return lunette.ProcessInfo[]
function container_handle:processes() end

---List what a container changed in its image's files.
---@return lunette.FileChange[]
function container_handle:diff() end

---Save a running container's processes; not built.
function container_handle:checkpoint() end

---Bring saved processes back; not built.
function container_handle:restore() end

---Move a container to a state of its lifecycle.
---@param state string the state
function container_handle:transition(state) end

---@class lunette.image
---@field id string
---@field name string
local image_handle = {}

---Give an image another reference.
---@param reference string the new reference
---@return lunette.image
function image_handle:tag(reference) end

---Remove a reference, and the image with its last.
---@param options? { force?: boolean }
---@return lunette.RemovedImage
function image_handle:remove(options) end

---Describe an image.
---@return lunette.ImageInfo
function image_handle:inspect() end

---List the steps an image was made by.
---@return lunette.ImageHistory[]
function image_handle:history() end

---@class lunette.volume
---@field id string
---@field name string
local volume_handle = {}

---Describe a volume.
---@return lunette.VolumeInfo
function volume_handle:inspect() end

---Remove a volume and what is in it.
---@param options? { force?: boolean }
function volume_handle:remove(options) end

---Say how full a volume is.
---@return lunette.VolumeUsage
function volume_handle:usage() end

---List the containers that mount a volume.
---@return lunette.container[]
function volume_handle:users() end

---@class lunette
---@field null lightuserdata
local lunette = {}

lunette.image = {}

---Bring an image from a registry.
---@param ref string image reference (`redis:7`, `registry.example.org/a/b@sha256:…`)
---@param options? { policy?: "missing"|"always"|"never", platform?: string, username?: string, password?: string, tls?: boolean, progress?: fun(value: lunette.Progress) }
---@return lunette.image
function lunette.image.pull(ref, options) end

---Read images from an OCI layout (folder or tar) or a docker-archive.
---@param path? string the folder or archive
---@param options? { tag?: string, progress?: fun(value: lunette.Progress) }
---@return lunette.image
function lunette.image.load(path, options) end

---Write images to a file.
---@param refs lunette.image|lunette.image[] one image, or a list
---@param path? string where to write
---@param options? { format?: "oci"|"oci-dir"|"docker", progress?: fun(value: lunette.Progress) }
function lunette.image.save(refs, path, options) end

---Send an image to a registry.
---@param ref string the reference to push; it names the registry
---@param options? { to?: string, username?: string, password?: string, tls?: boolean, progress?: fun(value: lunette.Progress) }
---@return lunette.PushResult
function lunette.image.push(ref, options) end

---Make an image from nothing or from a base, with copy and run steps.
---@param options? { tag?: string, from?: string, copy?: lunette.BuildCopy[], run?: (string|string[])[], config?: lunette.ImageConfig, network?: "none"|"host", progress?: fun(value: lunette.Progress) }
---@return lunette.image
function lunette.image.build(options) end

---Find an image or fail.
---@param image lunette.image the image: a handle, reference, id or digest
---@return lunette.image
function lunette.image.get(image) end

---Find an image; nothing when there is none.
---@param image lunette.image the image: a handle, reference, id or digest
---@return lunette.image|nil
function lunette.image.find(image) end

---List images.
---@param options? { labels?: table<string, string|nil>, reference?: string, dangling?: boolean }
---@return lunette.image[]
function lunette.image.list(options) end

---Give an image another reference.
---@param image lunette.image the image: a handle, reference, id or digest
---@param reference string the new reference
---@return lunette.image
function lunette.image.tag(image, reference) end

---Remove a reference, and the image with its last.
---@param image lunette.image the image: a handle, reference, id or digest
---@param options? { force?: boolean }
---@return lunette.RemovedImage
function lunette.image.remove(image, options) end

---Remove images that nothing uses.
---@param options? { all?: boolean, labels?: table<string, string|nil> }
---@return lunette.PruneResult
function lunette.image.prune(options) end

---Describe an image.
---@param image lunette.image the image: a handle, reference, id or digest
---@return lunette.ImageInfo
function lunette.image.inspect(image) end

---List the steps an image was made by.
---@param image lunette.image the image: a handle, reference, id or digest
---@return lunette.ImageHistory[]
function lunette.image.history(image) end

lunette.container = {}

---Make a container without starting it.
---@param spec lunette.ContainerSpec what to run and how
---@return lunette.container
function lunette.container.create(spec) end

---Make a container and start it; with `stdio` attached before its first instruction.
---@param spec lunette.ContainerSpec what to run and how
---@return lunette.container
function lunette.container.run(spec) end

---Make a container as described, or update the one there is.
---@param name string the container's name
---@param spec lunette.ContainerSpec what to run and how
---@return lunette.container
function lunette.container.apply(name, spec) end

---Find a container or fail.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
---@return lunette.container
function lunette.container.get(container) end

---Find a container; nothing when there is none.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
---@return lunette.container|nil
function lunette.container.find(container) end

---List containers.
---@param options? { all?: boolean, labels?: table<string, string|nil>, status?: string|string[], name?: string, owner?: integer }
---@return lunette.container[]
function lunette.container.list(options) end

---Describe a container.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
---@param options? { launch_plan?: boolean }
---@return lunette.ContainerInfo
function lunette.container.inspect(container, options) end

---Start a container that was created or has stopped; one that runs is left as it is.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
---@param options? { rows?: integer, columns?: integer }
---@return lunette.Started
function lunette.container.start(container, options) end

---End a container: its stop signal, then SIGKILL after the grace period.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
---@param options? { grace_period?: number|string }
---@return lunette.Exit
function lunette.container.stop(container, options) end

---Send a signal to a container's first process.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
---@param signal? string|integer `"SIGTERM"`, `"TERM"` or a number
function lunette.container.kill(container, signal) end

---Stop a container and start it again.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
---@param options? { grace_period?: number|string }
---@return lunette.Started
function lunette.container.restart(container, options) end

---Freeze a container's processes.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
function lunette.container.pause(container) end

---Thaw a paused container.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
function lunette.container.resume(container) end

---Remove a container.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
---@param options? { force?: boolean, volumes?: boolean }
function lunette.container.remove(container, options) end

---Give a container another name.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
---@param name string the new name
function lunette.container.rename(container, name) end

---Change what may change while it exists.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
---@param options? { resources?: lunette.Resources, labels?: table<string, string|nil>, restart?: "never"|"on_failure"|"always"|lunette.Restart }
---@return lunette.Updated
function lunette.container.update(container, options) end

---Wait until a container has stopped; at once when it has.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
---@param options? { timeout?: number|string }
---@return lunette.Exit
function lunette.container.wait(container, options) end

---Run a command in a running container; a non-zero exit is a result, not an error.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
---@param args string[]|string program and arguments; a string is run by `/bin/sh -c`
---@param options? { env?: table<string, string>, workdir?: string, user?: string, tty?: boolean, timeout?: number|string, check?: boolean, stdin?: string|"inherit"|"null"|lunette.FileTarget, stdout?: "capture"|"inherit"|"null"|lunette.FileTarget|fun(value: string), stderr?: "capture"|"inherit"|"null"|lunette.FileTarget|fun(value: string), detach?: boolean, rows?: integer, columns?: integer }
---@return lunette.ExecResult
function lunette.container.exec(container, args, options) end

---Tell a container's (or an exec's) pty its size.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
---@param options { rows: integer, columns: integer, exec?: string }
function lunette.container.resize(container, options) end

---Leave an exec running whose end a call waits for: that call returns.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
---@param options { exec: string }
function lunette.container.detach(container, options) end

---Connect to a running container's streams until they end.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
---@param options? { logs?: boolean }
---@return lunette.Exit
function lunette.container.attach(container, options) end

---Read a container's log.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
---@param options? { stdout?: boolean, stderr?: boolean, since?: number|number|string, until?: number|number|string, tail?: integer, timestamps?: boolean }
---@return string
function lunette.container.logs(container, options) end

---Stream a container's log, line by line, until it has ended.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
---@param options? { stdout?: boolean, stderr?: boolean, since?: number|number|string, until?: number|number|string, tail?: integer, timestamps?: boolean, follow?: boolean }
---@return fun(): lunette.LogLine
function lunette.container.follow_logs(container, options) end

---Copy a host file or folder into a container.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
---@param source string the host's path
---@param destination string the path in the container
---@param options? { archive?: boolean, follow_link?: boolean }
function lunette.container.copy_in(container, source, destination, options) end

---Copy a file or folder out of a container.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
---@param source string the path in the container
---@param destination string the host's path
---@param options? { archive?: boolean, follow_link?: boolean }
function lunette.container.copy_out(container, source, destination, options) end

---Read a running container's counters.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
---@return lunette.Stats
function lunette.container.stats(container) end

---List a running container's processes.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
---@return lunette.ProcessInfo[]
function lunette.container.processes(container) end

---List what a container changed in its image's files.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
---@return lunette.FileChange[]
function lunette.container.diff(container) end

---Save a running container's processes; not built.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
function lunette.container.checkpoint(container) end

---Bring saved processes back; not built.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
function lunette.container.restore(container) end

---Move a container to a state of its lifecycle.
---@param container lunette.container the container: a handle, name, id or a unique prefix of it
---@param state string the state
function lunette.container.transition(container, state) end

lunette.volume = {}

---Make a volume.
---@param name string letters, digits, `_`, `.` and `-`; unique
---@param options? { driver?: string, size?: number|string, labels?: table<string, string>, options?: table<string, any> }
---@return lunette.volume
function lunette.volume.create(name, options) end

---Make a volume unless it is there as described.
---@param name string letters, digits, `_`, `.` and `-`; unique
---@param options? { driver?: string, size?: number|string, labels?: table<string, string>, options?: table<string, any> }
---@return lunette.volume
function lunette.volume.apply(name, options) end

---Find a volume or fail.
---@param volume lunette.volume the volume: a handle or its name
---@return lunette.volume
function lunette.volume.get(volume) end

---Find a volume; nothing when there is none.
---@param volume lunette.volume the volume: a handle or its name
---@return lunette.volume|nil
function lunette.volume.find(volume) end

---List volumes.
---@param options? { labels?: table<string, string|nil>, driver?: string }
---@return lunette.volume[]
function lunette.volume.list(options) end

---Describe a volume.
---@param volume lunette.volume the volume: a handle or its name
---@return lunette.VolumeInfo
function lunette.volume.inspect(volume) end

---Remove a volume and what is in it.
---@param volume lunette.volume the volume: a handle or its name
---@param options? { force?: boolean }
function lunette.volume.remove(volume, options) end

---Remove volumes that no container uses.
---@param options? { labels?: table<string, string|nil> }
---@return lunette.PruneResult
function lunette.volume.prune(options) end

---Say how full a volume is.
---@param volume lunette.volume the volume: a handle or its name
---@return lunette.VolumeUsage
function lunette.volume.usage(volume) end

---List the containers that mount a volume.
---@param volume lunette.volume the volume: a handle or its name
---@return lunette.container[]
function lunette.volume.users(volume) end

lunette.hook = {}

---List the handlers of all sessions and plugins.
---@return lunette.Subscription[]
function lunette.hook.list() end

lunette.script = {}

---List the resident scripts.
---@return lunette.ScriptInfo[]
function lunette.script.list() end

---Put resident code as it is on the disk now in the place of what runs, all of it or nothing; handlers change in one step.
---@return lunette.ScriptChange
function lunette.script.reload() end

---Load a script and say what installing it would change; `lunette plan` for scripts.
---@param options { name: string, source: string, file?: string, modules?: table<string, string>, grants?: string[], prune?: boolean }
---@return lunette.ScriptPlan
function lunette.script.plan(options) end

---Install a script as resident code beside the settings' own: its source, what it requires and what it may call are stored.
---@param options { name: string, source: string, file?: string, modules?: table<string, string>, grants?: string[], prune?: boolean }
---@return lunette.ScriptPlan
function lunette.script.apply(options) end

---Take away a script that was applied.
---@param name string its name
---@param options? { prune?: boolean }
---@return lunette.ScriptChange
function lunette.script.remove(name, options) end

---The source of a resident script as it runs.
---@param name string its name
---@return string
function lunette.script.source(name) end

lunette.plugin = {}

---List plugins.
---@return lunette.PluginInfo[]
function lunette.plugin.list() end

---Describe a plugin.
---@param plugin string its name
---@return lunette.PluginInfo
function lunette.plugin.inspect(plugin) end

lunette.system = {}

---Describe the engine and its machine.
---@return lunette.SystemInfo
function lunette.system.info() end

---Tell the engine's version and API versions.
---@return lunette.SystemVersion
function lunette.system.version() end

---Look for what is left over, missing or broken.
---@param options? { repair?: boolean }
---@return lunette.CheckResult
function lunette.system.check(options) end

---Remove stopped containers, unused images and, if asked, unused volumes.
---@param options? { all?: boolean, volumes?: boolean }
---@return lunette.PruneResult
function lunette.system.prune(options) end

---List who did what: calls that changed something, and those that were refused; the oldest first.
---@param options? { since?: number|number|string, limit?: integer }
---@return lunette.AuditEntry[]
function lunette.system.audit(options) end

---Stream who does what, from now on or from a point in the past.
---@param options? { since?: number|number|string, follow?: boolean }
---@return fun(): lunette.AuditEntry
function lunette.system.follow_audit(options) end

---Answer.
---@return lunette.Pong
function lunette.system.ping() end

lunette.sandbox = {}

---Run one command that sees and changes only what is allowed; no image, no engine.
---@param options { args: string[], allow_read?: string[], allow_write?: string[], private?: string[], hide?: string[], tmpfs?: string[], scratch?: number|string, devices?: string[], preset?: "system"|"none", network?: "none"|"host", allow_connect?: integer[], allow_bind?: integer[], env?: table<string, string>, inherit_env?: boolean|string[], workdir?: string, hostname?: string, resources?: lunette.Resources, timeout?: number|string, seccomp?: "default"|"unconfined"|string|table<string, any>, landlock?: boolean, best_effort?: boolean, report?: boolean, check?: boolean, stdin?: string|lunette.FileTarget, stdout?: "capture"|"inherit"|"null"|lunette.FileTarget, stderr?: "capture"|"inherit"|"null"|lunette.FileTarget }
---@return lunette.SandboxResult
function lunette.sandbox.run(options) end

---Make volumes and containers as described and change what may change: all of it, or nothing; new containers are not started.
---@param options? { volumes?: table<string, lunette.VolumeSpec>, containers?: table<string, lunette.ContainerSpec>, dry_run?: boolean }
---@return lunette.Applied
function lunette.apply(options) end

---Call a handler before something is done: it may amend or deny it.
---@param event string what is about to happen (`container.create`)
---@param handler fun(value: lunette.Event) `ev:deny(reason)`, `ev:amend { … }`
---@param options? { timeout?: number|string, on_failure?: "deny"|"ignore", priority?: integer, name?: string, match?: lunette.EventMatch }
---@return any
function lunette.before(event, options, handler) end

---Call a handler after something has happened.
---@param event string what has happened (`container.exited`, `container.*`)
---@param handler fun(value: lunette.Event) observes, and can't delay anything
---@param options? { order?: "target"|"all", name?: string, match?: lunette.EventMatch }
---@return any
function lunette.on(event, options, handler) end

---Register a program for the life of containers; resident scripts only.
---@param name string what `lifecycle` in a container's spec names it by
---@param program lunette.Lifecycle what is done when: docs/lua/lifecycles.md
function lunette.lifecycle(name, program) end

---Open one more socket of the engine, whose users' calls a filter judges; in resident scripts.
---@param name string unique; what `actor.socket` says of its calls
---@param options { path?: string, owner?: string|integer, group?: string|integer, mode?: string, filter: "all"|"own_containers"|"no_bind_mounts"|"read_only"|fun(value: any)|any[] }
function lunette.socket(name, options) end

---Iterate over events.
---@param options? { since?: integer|number|string, match?: lunette.EventMatch }
---@return any
function lunette.events(options) end

---Call a function: true and its results, or false and an error object.
---@param f fun(value: any) the function
---@param ... any
---@return any
function lunette.try(f, ...) end

---Raise an error object.
---@param code string one of the codes
---@param message string what was tried on what
---@param fields? table<string, any> `hint`, `path`, `details` …
function lunette.fail(code, message, fields) end

---Write a value as Lua would, sorted, with a depth limit.
---@param value any anything
---@param options? { depth?: integer, width?: integer }
---@return string
function lunette.inspect(value, options) end

---Read a size.
---@param size number|string `"256MiB"`
---@return integer
function lunette.bytes(size) end

---Read a duration.
---@param duration number|string `"1h30m"`
---@return number
function lunette.seconds(duration) end

---Read the monotonic clock, in seconds.
---@return number
function lunette.clock() end

---Read the time, in unix seconds.
---@return number
function lunette.now() end

---Make a new table of two: maps merged, lists and scalars replaced, `lunette.null` deletes.
---@param a table<string, any> the one
---@param b table<string, any> the other, which wins
---@return table<string, any>
function lunette.merge(a, b) end

---Hold the script until it is interrupted.
function lunette.stay() end

---Fail unless this Lunette has an API version.
---@param version integer the version
function lunette.require_api(version) end

lunette.task = {}

---Start a task.
---@param f fun(value: any) what it runs
---@param ... any
---@return any
function lunette.task.spawn(f, ...) end

---Wait for a task: its results or its error.
---@param task any the task
---@return any
function lunette.task.await(task) end

---Run functions or await tasks together: all first results in order; the first failure cancels the others.
---@param list any[] functions or tasks
---@return any[]
function lunette.task.all(list) end

---Take the first result and its index; cancels the others.
---@param list any[] functions or tasks
---@return any
function lunette.task.any(list) end

---Wait.
---@param duration number|string how long
function lunette.task.sleep(duration) end

---Run a function and cancel it when it takes too long.
---@param duration number|string how long
---@param f fun(value: any) what to run
---@param ... any
---@return any
function lunette.task.timeout(duration, f, ...) end

---Run a function; what it spawns ends with it, and a failure cancels the rest.
---@param f fun(value: any) gets the scope
---@return any
function lunette.task.scope(f) end

---Run a function that a cancel may not interrupt for 10 s.
---@param f fun(value: any) clean-up
---@param ... any
---@return any
function lunette.task.shield(f, ...) end

---Call a function again and again until `:off()`.
---@param period number|string how often
---@param f fun(value: any) what
---@return any
function lunette.task.every(period, f) end

---Call a function at the times of a cron expression until `:off()`.
---@param expression string `minute hour day month weekday`
---@param f fun(value: any) what to run
---@param options? { name?: string, time_zone?: string, overlap?: "skip"|"queue"|"allow", catch_up?: boolean|number|string }
---@return any
function lunette.task.cron(expression, options, f) end

---The next time that a cron expression names, in unix seconds; nothing when there is none.
---@param expression string `minute hour day month weekday`
---@param from number unix seconds: after this
---@param options? { time_zone?: string }
---@return number|nil
function lunette.task.next_cron_time(expression, from, options) end

---Cancel a task: the wait it is in raises, and each later one.
---@param task any the task
---@return boolean
function lunette.task.cancel(task) end

lunette.store = {}

---Read a value that this script has stored; nothing when there is none.
---@param key string up to 512 bytes
---@return any
function lunette.store.get(key) end

---Store a value; it outlives the script, the engine and the machine's next start.
---@param key string up to 512 bytes
---@param value any tables, strings, numbers, booleans; nil deletes
function lunette.store.set(key, value) end

---Read, change and store a value in one step that no other can come between.
---@param key string up to 512 bytes
---@param f fun(value: any) gets the value or nil, returns the new one; called again when another was quicker
---@return any
function lunette.store.update(key, f) end

---List the keys, sorted.
---@param prefix? string only those that begin so
---@return string[]
function lunette.store.list(prefix) end

---Delete a value; false when there was none.
---@param key string up to 512 bytes
---@return boolean
function lunette.store.delete(key) end

---Open a store by name that every script of this engine may share; it has the same functions as methods.
---@param name string letters, digits, `.`, `_`, `-`
---@return any
function lunette.store.open(name) end

lunette.process = {}

---Run a command of the host; a non-zero exit is a result, not an error.
---@param args string[]|string program and arguments; a string is run by `/bin/sh -c`
---@param options? { env?: table<string, string>, workdir?: string, timeout?: number|string, check?: boolean, stdin?: string|"inherit"|"null"|lunette.FileTarget, stdout?: "capture"|"inherit"|"null"|lunette.FileTarget|fun(value: string), stderr?: "capture"|"inherit"|"null"|lunette.FileTarget|fun(value: string) }
---@return lunette.ExecResult
function lunette.process.run(args, options) end

lunette.http = {}

---Get what an address has; whatever the server says is a result, also 404 and 500.
---@param url string `http:` or `https:`
---@param options? { headers?: table<string, string>, timeout?: number|string, max_size?: number|string, redirects?: integer, username?: string, password?: string, ca_file?: string, verify?: boolean }
---@return lunette.HTTPResponse
function lunette.http.get(url, options) end

---Send a request of any method; whatever the server says is a result.
---@param options { url: string, method?: string, body?: string, headers?: table<string, string>, timeout?: number|string, max_size?: number|string, redirects?: integer, username?: string, password?: string, ca_file?: string, verify?: boolean }
---@return lunette.HTTPResponse
function lunette.http.request(options) end

lunette.log = {}

---Write a line to the log (stderr of a script).
---@param message any what happened
---@param fields? table<string, any> named values, written sorted
function lunette.log.debug(message, fields) end

---Write a line to the log (stderr of a script).
---@param message any what happened
---@param fields? table<string, any> named values, written sorted
function lunette.log.info(message, fields) end

---Write a line to the log (stderr of a script).
---@param message any what happened
---@param fields? table<string, any> named values, written sorted
function lunette.log.warn(message, fields) end

---Write a line to the log (stderr of a script).
---@param message any what happened
---@param fields? table<string, any> named values, written sorted
function lunette.log.error(message, fields) end

lunette.json = {}

---Write a value as JSON.
---@param value any tables, strings, numbers, booleans, `json.null`
---@param options? { pretty?: boolean }
---@return string
function lunette.json.encode(value, options) end

---Read JSON; null becomes `json.null`.
---@param text string the text
---@return any
function lunette.json.decode(text) end

lunette.fs = {}

---Read a file.
---@param path string relative to the script's working directory
---@return string
function lunette.fs.read(path) end

---Write a file.
---@param path string relative to the script's working directory
---@param data string its contents
---@param options? { append?: boolean, mode?: string|integer }
function lunette.fs.write(path, data, options) end

---Tell whether there is a file or folder.
---@param path string relative to the script's working directory
---@return boolean
function lunette.fs.exists(path) end

---List a folder's names, sorted.
---@param path string relative to the script's working directory
---@return string[]
function lunette.fs.list(path) end

---Describe a file: type, size, mode, uid, gid, modified_at.
---@param path string relative to the script's working directory
---@return table<string, any>
function lunette.fs.stat(path) end

---Count a tree's bytes and inodes.
---@param path string relative to the script's working directory
---@return table<string, integer>
function lunette.fs.usage(path) end

---Make a folder.
---@param path string relative to the script's working directory
---@param options? { mode?: string|integer, parents?: boolean }
function lunette.fs.mkdir(path, options) end

---Remove a file or folder; false when there was none.
---@param path string relative to the script's working directory
---@param options? { recursive?: boolean }
---@return boolean
function lunette.fs.remove(path, options) end

---Rename a file or folder.
---@param from string the old path
---@param to string the new one
function lunette.fs.rename(from, to) end

---Make a folder that goes with the script.
---@return string
function lunette.fs.temporary() end

lunette.test = {}

---Group tests.
---@param name string what reports call it
---@param f fun(value: any) defines its tests and groups
---@param options? { shared?: boolean, timeout?: number|string, skip?: string }
function lunette.test.describe(name, options, f) end

---Define a test.
---@param name string what reports call it
---@param f fun(value: any) the test; it may wait
---@param options? { timeout?: number|string, skip?: string }
function lunette.test.it(name, options, f) end

---Run a function before each test of the group and the groups in it.
---@param f fun(value: any) what it does; it may wait
function lunette.test.before_each(f) end

---Run a function after each test of the group and the groups in it, whatever became of it.
---@param f fun(value: any) what it does; it may wait
function lunette.test.after_each(f) end

---Run a function before the first test of a group with `shared = true`.
---@param f fun(value: any) what it does; it may wait
function lunette.test.before_all(f) end

---Run a function after the last test of a group with `shared = true`.
---@param f fun(value: any) what it does; it may wait
function lunette.test.after_all(f) end

---Say what a value should be; where it isn't, the test has failed.
---@param value? any what came
---@return lunette.Expectation
function lunette.test.expect(value) end

---End the test; it counts as skipped.
---@param reason string why
function lunette.test.skip(reason) end

---Load what is tested: a script, which runs until it ends or stays; a resident script, whose handlers are registered; a plugin.
---@param path string the file or folder, from the test file's folder
---@param ... any
---@param options? { resident?: boolean, plugin?: boolean, args?: any[], background?: boolean }
---@return lunette.TestedScript
function lunette.test.load(path, options, ...) end

lunette.test.clock = {}

---Move the time on; what is due wakes in its order, and all that comes of it has happened afterwards.
---@param duration number|string how far
function lunette.test.clock.advance(duration) end

---Read the test's time, in unix seconds; each test begins on 2026-01-01.
---@return number
function lunette.test.clock.now() end

---Move the time on to a moment.
---@param moment number unix seconds, not in the past
function lunette.test.clock.set(moment) end

---Give `on` handlers an event, or ask `before` handlers; afterwards they have ended.
---@param event string its name (`container.oom`, `container.create`)
---@param fields? table<string, any> what is in it: `container`, `image` or `volume` (a handle or a name), `labels`, `spec` of a `before`, and its own fields
---@return lunette.TestAnswer|nil
function lunette.test.emit(event, fields) end

---Make calls of a function fail.
---@param name string the function's name; `*` stands for any part of it
---@param code string an error code (`io`)
---@param options? { times?: integer, after?: integer, match?: table<string, any>, message?: string, hint?: string }
function lunette.test.fail(name, code, options) end

---Answer calls of a function.
---@param name string the function's name; `*` stands for any part of it
---@param answer? any what they return, or a function of their arguments that says so
function lunette.test.stub(name, answer) end

---Make an image be there, without a pull.
---@param reference string its reference
---@param options? { entrypoint?: string[], cmd?: string[], env?: table<string, string>, workdir?: string, user?: string, labels?: table<string, string>, volumes?: string[], exposed_ports?: string[], stop_signal?: string }
---@return lunette.image
function lunette.test.image(reference, options) end

---Say what the program of containers does; without a word it runs until it is stopped.
---@param container? lunette.container|table<string, string> a name, which may hold `*`, or `{ name=, image= }`; nil: every container
---@param answer lunette.Program|fun(value: any) what it does, or a function of its start
function lunette.test.program(container, answer) end

---Say what execs in containers answer; without a word an exec is an error.
---@param container? lunette.container|table<string, string> a name, which may hold `*`, or `{ name=, image= }`; nil: every container
---@param args? string[]|string which: words that may hold `*`, `"..."` for any more; a string is a shell's; nil: all
---@param answer lunette.Program|fun(value: any) what it does, or a function of its start
function lunette.test.exec(container, args, answer) end

---End the program of a running container.
---@param container lunette.container the container
---@param options? { code?: integer, signal?: string, oom_killed?: boolean }
function lunette.test.exit(container, options) end

---List the calls and events so far, in their order.
---@param name? string only of these names (`container.*`); may be given alone
---@param options? { kind?: "call"|"event" }
---@return table<string, any>[]
function lunette.test.events(name, options) end

return lunette
