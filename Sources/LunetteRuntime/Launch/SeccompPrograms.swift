internal import LunetteLinux
internal import LunetteSpec

extension ContainerRuntime {
    /// The compiled filter of a spec; empty bytes for none.
    func seccompProgram(_ spec: RuntimeSpec) throws(LunetteError) -> (bytes: [UInt8], flags: UInt64) { ([], 0) }
}
