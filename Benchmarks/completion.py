"""The case `completion`: from the Tab key to what it shows, in a prompt on a terminal of its own, with many containers in the engine."""
import os
import pty
import re
import select
import struct
import fcntl
import termios
import time

from measure import median, ms, percentile, table

CONTAINERS = 1000


class Prompt:
    """A REPL on a pty."""

    def __init__(self, bench):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            environment = {**bench.environment, "TERM": "xterm", "HOME": bench.home, "LC_ALL": "C.UTF-8"}
            os.execve(bench.binary, [bench.binary, "repl"], environment)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.until("> ")

    def until(self, text, seconds=20):
        """Reads until a text has come; what was read, without the terminal's codes."""
        end, seen = time.monotonic() + seconds, ""
        while text not in seen:
            ready, _, _ = select.select([self.terminal], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise SystemExit(f"completion: the prompt has not shown {text!r}, but {seen!r}")
            seen += os.read(self.terminal, 65536).decode(errors="replace")
            seen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
        return seen

    def rest(self):
        """Reads what still comes."""
        while select.select([self.terminal], [], [], 0.03)[0]:
            os.read(self.terminal, 65536)

    def completed(self, line, shown):
        """Seconds from Tab to a text, with a line before the cursor."""
        os.write(self.terminal, line.encode())
        self.rest()
        start = time.monotonic()
        os.write(self.terminal, b"\t")
        self.until(shown)
        taken = time.monotonic() - start
        self.rest()
        os.write(self.terminal, b"\x15")
        self.rest()
        return taken

    def end(self):
        os.close(self.terminal)
        os.waitpid(self.pid, 0)


def case(bench, image):
    bench.lunette("-e", f"""
        local tasks = {{}}
        for worker = 0, 7 do
            tasks[#tasks + 1] = task.spawn(function()
                for i = worker, {CONTAINERS - 2}, 8 do container.create {{ name = ("many-%04d"):format(i), image = "{image}" }} end
            end)
        end
        task.all(tasks)
        container.create {{ name = "alone-one", image = "{image}" }}""")
    prompt = Prompt(bench)
    try:
        rows = []
        for name, line, shown in (
            ("one name of all", 'container.get("alone', '-one"'),
            ("ten names of all", 'container.get("many-042', "many-0429"),
            ("all names", 'container.get("many', "more; type on"),
            ("options with types", "container.run { resources = { me", "memory_swap"),
            ("one option", "container.run { hostn", "ame = "),
            ("functions", "container.re", "restart"),
        ):
            # Enough for a 99th percentile.
            taken = [prompt.completed(line, shown) for _ in range(min(100, bench.options.rounds))]
            rows.append([name, line, ms(median(taken)), ms(percentile(taken, 0.99)), "20", f"{median(taken) * 1000 / 20:.2f}"])
    finally:
        prompt.end()
    table(f"completion: from Tab to the screen, {CONTAINERS} containers", ["", "line", "median ms", "p99 ms", "aim", "ratio"], rows)
