import Glibc
import LunetteLinux
import LunetteSpec

/// What has to be looked at before an ordinary user's engine trusts the places it has by default.
enum UserPlaces {
    /// Looks at the folder that a state directory chosen by us lies in, before anything there is trusted.
    /// - Throws: as `UserRuntimeFolder.prepare`.
    static func verify(_ settings: Settings) throws(LunetteError) {
        guard geteuid() != 0 else { return }
        let folder = EnginePlaces.userRuntimeFolder(geteuid())
        guard settings.state == folder.path else { return }
        try folder.prepare(for: "the engine's state", alternative: "set LUNETTE_STATE to a folder of your own")
    }
}
