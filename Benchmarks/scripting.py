"""The cases of the Lua platform: hooks, states, calls, tasks."""
import json
import os
import shutil
import subprocess
import time

from measure import private_kib, table

HERE = os.path.dirname(os.path.abspath(__file__))

BEFORE = """
lunette.before("container.create", { name = "bench", match = { labels = { tier = "db" } } }, function(ev)
  if ev.spec.resources.memory > 1 then
    ev:amend { resources = { memory = "128MiB" }, labels = { seen = "yes" } }
  end
end)
"""

ON = """
local seen = 0
lunette.on("container.exited", { name = "bench" }, function(ev)
  if ev.exit.code == 0 then seen = seen + 1 end
  if seen == %d then log.info "all" end
end)
"""

SESSION = """
local lunette = require "lunette"
lunette.before("container.create", { name = "bench", timeout = "5s", on_failure = "deny" }, function(ev)
  if ev.spec.resources.memory > 1 then
    ev:amend { resources = { memory = "128MiB" }, labels = { seen = "yes" } }
  end
end)
print("ready")
io.stdout:flush()
lunette.stay()
"""


class Settings:
    """A settings' folder with one resident script, and what else an engine of its own needs."""

    def __init__(self, bench, script):
        self.folder = bench.home + "/config"
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder + "/conf.d", mode=0o755)
        if script:
            with open(self.folder + "/conf.d/bench.lua", "w") as file:
                file.write(script)
        self.environment = {**bench.environment, "LUNETTE_CONFIG": self.folder}


def program(bench, settings, *arguments):
    done = subprocess.run([os.path.join(bench.options.bin, "lunette-bench"), *map(str, arguments)], env=settings.environment,
                          text=True, capture_output=True)
    if done.returncode != 0:
        raise SystemExit(f"lunette-bench {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout.strip().split("\n")[-1])


def us(seconds):
    return f"{seconds * 1e6:.2f}"


def case_hook(bench):
    count = bench.options.calls
    figures = program(bench, Settings(bench, BEFORE), "questions", count)
    rows = []
    for name, title, aim in (("excluded", "its match excludes the container", 0.5e-6), ("amended", "reads and amends the spec", 10e-6),
                             ("decoded", "the same, and the amended spec decoded", None)):
        found = figures[name]
        rows.append([title, found["count"], us(found["mean"]), us(found["median"]), us(found["p99"]), us(aim) if aim else "-",
                     f"{found['mean'] / aim:.2f}" if aim else "-"])
    script = bench.home + "/session.lua"
    with open(script, "w") as file:
        file.write(SESSION)
    found = program(bench, Settings(bench, None), "script-hook", count // 20, bench.binary, script)
    rows.append(["in a script's own process", found["count"], us(found["mean"]), us(found["median"]), us(found["p99"]), "150.00",
                 f"{found['mean'] / 150e-6:.2f}"])
    table("hook: one question to one resident before handler", ["", "calls", "mean us", "median us", "p99 us", "aim", "ratio"], rows)
    rows = []
    for targets in (1, 100):
        found = program(bench, Settings(bench, ON % count), "events", count, targets)
        rate = count / found["seconds"]
        rows.append([f"{targets} container{'s' if targets > 1 else ''}", count, f"{rate:.0f}", f"{count / found['logged']:.0f}", "100000",
                     f"{rate / 100000:.2f}"])
    table("hook: events to one resident on handler", ["", "events", "handled/s", "logged/s", "aim", "ratio"], rows)


def daemon(bench, settings):
    """Starts an engine and waits until it answers; the seconds that took."""
    began = time.monotonic()
    process = subprocess.Popen([bench.binary, "daemon"], env=settings.environment, stderr=subprocess.DEVNULL)
    # In this order: without a socket the command would start an engine of its own.
    while not os.path.exists(bench.home + "/s/engine.sock") or \
            subprocess.run([bench.binary, "version"], env=settings.environment, capture_output=True).returncode != 0:
        if process.poll() is not None:
            raise SystemExit("the engine ended")
        time.sleep(0.02)
    return process, time.monotonic() - began


def case_state(bench):
    sizes, starts, spent = [], [], []
    for count in (0, bench.options.states):
        settings = Settings(bench, None)
        for number in range(count):
            with open(f"{settings.folder}/conf.d/s{number:04}.lua", "w") as file:
                file.write(BEFORE.replace('"bench"', f'"bench-{number}"'))
        process, seconds = daemon(bench, settings)
        starts.append(seconds)
        # Residents: what they hold while they wait, which they do for most of their life.
        time.sleep(2)
        sizes.append(private_kib(process.pid)[1])
        fields = open(f"/proc/{process.pid}/stat").read().rsplit(")", 1)[1].split()
        spent.append((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))
        process.terminate()
        process.wait()
    count = bench.options.states
    each = (starts[1] - starts[0]) / count
    cpu = (spent[1] - spent[0]) / count
    memory = (sizes[1] - sizes[0]) * 1024 / 1e6
    table(f"state: an engine with {count} resident scripts against one without", ["", "value", "aim", "ratio"], [
        ["a state with the full API and a handler, ms", f"{each * 1000:.3f}", "1.000", f"{each * 1000:.2f}"],
        ["the same, processor time", f"{cpu * 1000:.3f}", "1.000", f"{cpu * 1000:.2f}"],
        [f"{count} states at rest, MB (dirty private memory)", f"{memory:.1f}", f"{count / 10:.0f}", f"{memory / (count / 10):.2f}"],
    ])


def case_call(bench):
    settings = Settings(bench, None)
    process, _ = daemon(bench, settings)
    rows = []
    for width in (1, 32):
        found = program(bench, settings, "calls", bench.options.calls, width)
        rate = found["count"] / found["seconds"]
        rows.append([f"one connection, {width} at a time", found["count"], f"{rate:.0f}", us(found["median"]), us(found["p99"]),
                     f"{rate / 20000:.2f} of 20000/s" if width > 1 else "-"])
    busy = [subprocess.Popen([bench.binary, HERE + "/busy.lua", bench.home + "/over"], env=settings.environment, text=True,
                             stdout=subprocess.PIPE) for _ in range(50)]
    for client in busy:
        client.stdout.readline()
    found = program(bench, settings, "calls", bench.options.calls // 20, 1)
    rows.append(["one at a time beside 50 busy clients", found["count"], f"{found['count'] / found['seconds']:.0f}", us(found["median"]),
                 us(found["p99"]), f"{found['p99'] / 1e-3:.2f} of p99 1 ms"])
    made = 0
    open(bench.home + "/over", "w").close()
    for client in busy:
        made += int(client.stdout.readline())
        client.wait()
    process.terminate()
    process.wait()
    table(f"call: container.find of a name that isn't there (the 50 clients made {made} calls meanwhile)",
          ["", "calls", "calls/s", "median us", "p99 us", "against the aim"], rows)


def case_tasks(bench):
    found = json.loads(bench.lunette(HERE + "/tasks.lua", str(bench.options.tasks)))
    megabytes = found["bytes"] / 1e6
    aim = 200 * found["count"] / 100000
    table(f"tasks: {found['count']} sleeping tasks in one script", ["", "value", "aim", "ratio"], [
        ["memory, MB", f"{megabytes:.1f}", f"{aim:.0f}", f"{megabytes / aim:.2f}"],
        ["until all are asleep, s", f"{found['asleep']:.2f}", "-", "-"],
        ["woken", found["woken"], found["count"], "-"],
        ["woken out of order", found["out_of_order"], 0, "-"],
    ])
