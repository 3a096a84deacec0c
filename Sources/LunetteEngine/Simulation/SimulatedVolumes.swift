import LunettePlugins
import LunetteSpec

/// The volume driver `local` of a test: volumes without folders.
struct SimulatedVolumes: LoadedPlugin, VolumeDriver {
    let root: String
    let functions: Set<String> = ["create", "mount", "unmount", "remove", "usage"]
    var volumeDrivers: [String: any VolumeDriver] { ["local": self] }

    /// As if its folder had been found.
    static let manifest: Result<PluginManifest, LunetteError> = {
        let text = #"{"name":"volume-test","version":"1.0.0","api":"1","entry":"init.lua","provides":{"volume":["local"]}}"#
        do throws(LunetteError) { return .success(try PluginManifest(json: Array(text.utf8), source: "volume-test")) } catch {
            return .failure(error)
        }
    }()

    func selfTest() async throws(LunetteError) {}
    func start() async throws(LunetteError) {}
    func stop() async {}

    func create(_ request: DriverRequest) async throws(LunetteError) -> Value { .null }
    func mount(_ request: DriverRequest) async throws(LunetteError) -> (path: String, state: Value) {
        ("\(root)/volumes/\(request.volume.id)", .null)
    }
    func unmount(_ request: DriverRequest) async throws(LunetteError) {}
    func remove(_ request: DriverRequest) async throws(LunetteError) {}
    func usage(_ request: DriverRequest) async throws(LunetteError) -> VolumeUsage? {
        VolumeUsage(used: 0, limit: request.volume.size, inodes: 0, enforced: false)
    }
}
