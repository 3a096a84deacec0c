internal import LunetteLinux
package import LunetteSpec

extension ContainerRuntime {
    /// Asks the pure planner for the container's plan.
    func plan(_ request: CreateRequest, _ prepared: Prepared) throws(LunetteError) -> LaunchInput {
        throw LunetteError(.unsupported, "the launch planner isn't there yet")
    }
}

extension Container {
    /// Runs one more process; returns when its program runs.
    /// - Throws: as `start`.
    package func exec(_ request: ExecRequest) async throws(LunetteError) -> ExecProcess {
        throw LunetteError(.unsupported, "the launch planner isn't there yet")
    }
}
