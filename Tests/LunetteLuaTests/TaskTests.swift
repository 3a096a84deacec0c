import Glibc
import LunetteSpec
import Testing

@testable import LunetteLua

@Suite struct TaskTests {
    /// Issue 4: a hundred thousand of them in 200 MB.
    @Test func aSleepingTaskIsSmall() async {
        let ran = await runLua(
            """
            collectgarbage()
            local before, tasks = collectgarbage "count", {}
            for number = 1, 1024 do
              tasks[number] = task.spawn(function() local due = lunette.clock() + number task.sleep(1000 + number) return due end)
            end
            task.sleep(0)
            collectgarbage()
            local each = (collectgarbage "count" - before) * 1024 / #tasks
            for _, t in ipairs(tasks) do t:cancel() end
            return each < 1850 or each
            """)
        #expect(ran.text == "true", "\(ran.text) \(ran.error)")
    }

    /// A task's sleep is the scheduler's own; what is wrong with it is an error of the line that asked for it all the same.
    @Test func aSleepThatCannotBeSaysWhereItWasAskedFor() async {
        let ran = await runLua("local ok, e = pcall(task.sleep, 'soon')\nreturn ok, e.code, e.where, e.message")
        #expect(ran.text.hasPrefix("false\tinvalid_argument\t") && ran.text.contains("task.sleep: "), "\(ran.text) \(ran.error)")
    }

    @Test(arguments: [
        ("local r = task.all { function() task.sleep(0.002) return 1 end, function() return 2 end } return r[1], r[2]", "1\t2"),
        ("return task.any { function() task.sleep(10) return 1 end, function() task.sleep(0.001) return 2 end }", "2\t2"),
        ("return lunette.try(task.timeout, 0.001, function() task.sleep(10) end)", nil),
        ("return task.timeout('5s', function() task.sleep(0) return 'done' end)", "done"),
        ("local t = task.spawn(function(x) return x * 2 end, 21) return task.await(t)", "42"),
        (
            "local t = task.spawn(function() task.sleep(100) end) task.sleep(0) t:cancel() local ok, e = pcall(task.await, t) return ok, e.code",
            "false\tcancelled"
        ),
        ("local n = 0 task.scope(function(s) for i = 1, 3 do s:spawn(function() task.sleep(0.001) n = n + i end) end end) return n", "6"),
        ("local n = 0 task.scope(function() task.spawn(function() task.sleep(0.001) n = 7 end) end) return n", "7"),
        (
            "local ok, e = pcall(task.scope, function(s) s:spawn(function() error('inner', 0) end) task.sleep(100) end) return ok, e",
            "false\tinner"
        ),
        ("local ok, e = pcall(task.all, { function() error('bad', 0) end, function() task.sleep(100) end }) return ok, e", "false\tbad"),
        (
            "local n = 0 local timer = task.every(0.001, function() n = n + 1 end) while n < 3 do task.sleep(0.001) end timer:off() return n >= 3",
            "true"
        ),
        ("return task.next_cron_time('0 3 * * *', 0, { time_zone = 'UTC' })", "10800"),
        ("local _, e = pcall(task.next_cron_time, 'never', 0) return e.code, e.operation", "invalid_argument\ttask.next_cron_time"),
        ("local _, e = pcall(task.next_cron_time) return e.message", "task.next_cron_time: expected a cron expression, got nil"),
        ("local _, e = pcall(task.cron, 'never', print) return e.operation", "task.cron"),
        ("return task.next_cron_time('*/15 8-9 * * mon', 0, { time_zone = 'UTC' })", "374400"),
        (
            "local done = false local t = task.spawn(function() local g <close> = setmetatable({}, {__close = function() done = true end}) task.sleep(100) end) task.sleep(0) t:cancel() pcall(task.await, t) return done",
            "true"
        ),
        (
            // What closes may wait, after a cancel and when one comes meanwhile; what is no `<close>` may not.
            "local x = {} local function closer(n) return setmetatable({}, {__close = function() task.sleep(0.002) x[#x + 1] = n end}) end local t = task.spawn(function() local g <close> = closer('kept') pcall(task.sleep, 100) x[#x + 1] = pcall(task.sleep, 0.001) end) task.sleep(0) t:cancel() pcall(task.await, t) local u = task.spawn(function() do local g <close> = closer('ended') end end) task.sleep(0) u:cancel() pcall(task.await, u) return x",
            "{ false, \"kept\", \"ended\" }"
        ),
        (
            "local x = {} local t = task.spawn(function() task.shield(function() task.sleep(0.002) x[1] = 'kept' end) task.sleep(5) x[2] = 'not' end) task.sleep(0.001) t:cancel() pcall(task.await, t) return x",
            "{ \"kept\" }"
        ),
    ])
    func tasksDoWhatTheContractSays(_ source: String, _ expected: String?) async {
        let ran = await runLua(source)
        #expect(ran.ok, "\(ran.error)")
        if let expected { #expect(ran.text == expected) } else { #expect(ran.text.contains("not done within")) }
    }

    @Test func aScriptEndsWithItsSpawnedTasks() async {
        let ran = await runLua(
            "x = 0 task.spawn(function() task.sleep(0.002) x = 1 task.spawn(function() task.sleep(0.001) end) end) return 'main'")
        #expect(ran.ok && ran.text == "main")
    }

    @Test func timersDoNotHoldAScript() async {
        let ran = await runLua("task.every('1h', print) return 'over'")
        #expect(ran.text == "over")
    }

    @Test func anUnawaitedFailureIsReported() async {
        let ran = await runLua("task.spawn(function() error('lost', 0) end) return 1")
        #expect(ran.ok)
        #expect(ran.failed.count == 1 && ran.failed.first?["message"]?.stringValue == "lost")
    }

    /// Before the loop runs, too: an interrupt that came too early was forgotten, and the loop never read its message.
    @Test(arguments: [0, 50_000_000]) func interruptingEndsALoop(afterNanoseconds pause: Int) async {
        let ran = await runLua(
            "while true do end",
            before: { host in
                let (mailbox, interrupter) = (host.mailbox, host.state.interrupter)
                if pause == 0 { return LuaHost.interrupt(mailbox, interrupter) }
                onOwnThread {
                    var pause = timespec(tv_sec: 0, tv_nsec: pause)
                    nanosleep(&pause, nil)
                    LuaHost.interrupt(mailbox, interrupter)
                }
            })
        #expect(!ran.ok && ran.code == "cancelled", "\(ran.error)")
    }

    @Test func interruptingEndsAWait() async {
        let ran = await runLua(
            "task.sleep(100)",
            before: { host in
                let (mailbox, interrupter) = (host.mailbox, host.state.interrupter)
                onOwnThread { LuaHost.interrupt(mailbox, interrupter) }
            })
        #expect(!ran.ok && ran.code == "cancelled", "\(ran.error)")
    }

    @Test func aTaskThatSleepsNoTimeKeepsNoAnswerUnread() async {
        let engine = FakeEngine { (_, _, _, _) async throws(LunetteError) in [] }
        let ran = await runLua(
            "local t = task.spawn(function() return #container.list() end) local done for n = 1, 1e9 do task.sleep(0) "
                + "if done then return 'read' end if n == 1 then task.spawn(function() t:await() done = true end) end end", engine: engine)
        #expect(ran.text == "read", "\(ran.error)")
    }

    @Test(arguments: [1e18, 1e300]) func aSleepMayBeLongerThanTheKernelCounts(_ seconds: Double) async {
        let ran = await runLua("return task.any { function() task.sleep(\(seconds)) end, function() task.sleep(0.001) return 'woken' end }")
        #expect(ran.text == "\"woken\"\t2" || ran.text == "woken\t2", "\(ran.text) \(ran.error)")
    }

    /// Two shielded tasks that wait for each other: the shields give way ten seconds after the cancel.
    @Test func aDeadlockBehindShieldsEnds() async {
        let ran = await runLua(
            "local a, b a = task.spawn(function() task.shield(function() task.await(b) end) end) "
                + "b = task.spawn(function() task.shield(function() task.await(a) end) end) task.await(a)")
        #expect(!ran.ok && ran.code == "would_block", "\(ran.error)")
    }

    /// Ten thousand that sleep wake in the order of their times. Exactness is `TimerQueueTests`'; here a thread may lose its processor.
    @Test func tenThousandSleepersWakeInOrder() async {
        let ran = await runLua(
            """
            local order, tasks = {}, {}
            for n = 1, 10000 do
              local duration = 0.5 + (n * 7919) % 10007 * 1e-4
              tasks[n] = task.spawn(function()
                local due = lunette.clock() + duration
                task.sleep(duration)
                order[#order + 1] = due
              end)
            end
            task.all(tasks)
            local late = 0
            for n = 2, #order do if order[n] < order[n - 1] - 0.02 then late = late + 1 end end
            return #order, late < 10
            """)
        #expect(ran.text == "10000\ttrue", "\(ran.text) \(ran.error)")
    }
}
