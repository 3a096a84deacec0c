// swift-tools-version: 6.2
import PackageDescription

// Arrows point down: see docs/architecture.md; scripts/dev/check-layering fails when an import breaks the table.

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

// C is C11 with every warning an error; _GNU_SOURCE because these targets exist to reach Linux calls.
let strictC: [CSetting] = [
    .define("_GNU_SOURCE"),
    .unsafeFlags(["-std=gnu11", "-Wall", "-Wextra", "-Werror"]),
]

func swift(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
    .target(name: name, dependencies: dependencies, exclude: exclude, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
    .testTarget(name: name, dependencies: dependencies, exclude: exclude, swiftSettings: strict)
}

let package = Package(
    name: "lunette",
    products: [
        .executable(name: "lunette", targets: ["lunette"]),
        .executable(name: "lunette-oci", targets: ["lunette-oci"]),
        .executable(name: "lunette-front", targets: ["lunette-front"]),
        .executable(name: "lunette-shim", targets: ["lunette-shim"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    ],
    targets: [
        // C: system calls, the plan's wire format, the Lua bridge that cannot raise.
        .target(name: "CLinux", cSettings: strictC),
        .systemLibrary(name: "CLua", pkgConfig: "lua5.4", providers: [.apt(["liblua5.4-dev"])]),
        .target(name: "CLuaBridge", dependencies: ["CLua"], cSettings: strictC),
        // libarchive and libcurl are opened when first used: with what they pull in they cost a command 8 ms at start.
        .target(name: "CArchive", cSettings: strictC, linkerSettings: [.linkedLibrary("nettle")]),
        .target(name: "CSeccomp", cSettings: strictC),
        .target(name: "CCurl", cSettings: strictC),

        // The monitor of one container: Embedded Swift, fully static, single-threaded.
        .executableTarget(
            name: "lunette-shim",
            dependencies: ["CLinux"],
            swiftSettings: [
                .swiftLanguageMode(.v6),
                .enableExperimentalFeature("Embedded"),
                .unsafeFlags(["-wmo", "-Osize", "-parse-as-library"]),
            ],
            linkerSettings: [.unsafeFlags(["-Xclang-linker", "-static"])]
        ),

        swift("LunetteSpec", []),
        swift("LunetteLinux", ["LunetteSpec", "CLinux", "CSeccomp"]),
        swift("LunetteImages", ["LunetteLinux", "LunetteSpec", "CArchive", "CCurl", "CLinux"]),
        swift("LunetteRuntime", ["LunetteLinux", "LunetteSpec", "CLinux"]),
        // The OCI runtime's command line. A library and a thin program: the linker flags of an executable reach the tests that import it.
        swift("LunetteOCI", ["LunetteLinux", "LunetteSpec", "CLinux"]),
        .executableTarget(
            name: "lunette-oci",
            dependencies: ["LunetteOCI"],
            exclude: ["functions.order"],
            swiftSettings: strict,
            linkerSettings: [
                // Fully static: half a millisecond from spawn to exit instead of six.
                .unsafeFlags(["-static-executable"]),
                // What a container's life calls lies side by side (scripts/dev/order-functions): a third of the pages to map and to unmap.
                .unsafeFlags(
                    [
                        "-use-ld=lld", "-Xlinker", "--no-warn-symbol-ordering",
                        "-Xlinker", "--symbol-ordering-file=\(Context.packageDirectory)/Sources/lunette-oci/functions.order",
                    ], .when(configuration: .release)),
            ]
        ),
        // Runs one command in a sandbox, without engine, concurrency or Foundation: a start of it is a matter of three milliseconds.
        swift("LunetteSandbox", ["LunetteLinux", "LunetteSpec", "CLinux"]),
        .executableTarget(
            name: "lunette-front",
            dependencies: ["LunetteSandbox", "LunetteSpec"],
            swiftSettings: strict,
            linkerSettings: [.unsafeFlags(["-static-executable"])]
        ),
        swift("LunettePlugins", ["LunetteSpec", "LunetteLinux"]),
        swift("LunetteAPI", ["LunetteSpec"]),
        swift(
            "LunetteEngine",
            [
                "LunetteSpec", "LunetteLinux", "LunetteImages", "LunetteRuntime", "LunettePlugins", "LunetteAPI",
                .product(name: "GRDB", package: "GRDB.swift"),
            ]
        ),
        swift(
            "LunetteLua", ["LunetteSpec", "LunetteAPI", "LunettePlugins", "LunetteSandbox", "LunetteLinux", "CLuaBridge", "CCurl"],
            // The Lua stdlib is embedded by CLuaBridge (#embed): as Swift array literals it takes 16 s a change to compile.
            exclude: ["Resources"]
        ),
        swift("LunetteServer", ["LunetteSpec", "LunetteLinux", "LunetteAPI"]),
        .executableTarget(
            name: "lunette",
            dependencies: [
                "LunetteSpec", "LunetteLinux", "LunetteAPI", "LunetteLua", "LunetteEngine", "LunetteServer", "LunettePlugins",
                "LunetteRuntime", "LunetteSandbox",
                "LunetteImages", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict
        ),

        // What scripts/dev/bench can't time from outside; no product of a release.
        .executableTarget(
            name: "lunette-bench",
            dependencies: ["LunetteSpec", "LunetteAPI", "LunetteEngine", "LunetteLua", "LunetteServer"],
            path: "Benchmarks/Program", swiftSettings: strict
        ),

        swift("LunetteTesting", ["LunetteSpec", "LunetteLinux"]),
        tests("LunetteSpecTests", ["LunetteSpec", "LunetteTesting"], exclude: ["Golden"]),
        tests("LunetteLinuxTests", ["LunetteLinux", "LunetteTesting"]),
        tests("LunetteImagesTests", ["LunetteImages", "LunetteTesting"]),
        tests("LunetteRuntimeTests", ["LunetteRuntime", "LunetteTesting", "LunetteLinux", "LunetteSpec", "CLinux"]),
        tests("LunetteOCITests", ["LunetteOCI", "LunetteTesting", "LunetteLinux", "LunetteSpec"]),
        tests("LunetteSandboxTests", ["LunetteSandbox", "LunetteSpec", "LunetteTesting"]),
        tests("LunettePluginsTests", ["LunettePlugins", "LunetteTesting"]),
        tests("LunetteLuaTests", ["LunetteLua", "LunetteAPI", "LunettePlugins", "LunetteTesting"]),
        tests("LunetteEngineTests", ["LunetteEngine", "LunetteTesting"]),
        tests("LunetteServerTests", ["LunetteServer", "LunetteLinux", "LunetteAPI", "LunetteSpec", "LunetteTesting"]),
        tests(
            "LunetteCommandTests",
            ["lunette", "LunetteSandbox", "LunetteSpec", .product(name: "ArgumentParser", package: "swift-argument-parser")]),
        tests("IntegrationTests", ["LunetteSpec", "LunetteTesting"]),
    ]
)

// LUNETTE_FUZZ=spec or shim builds one fuzz target with libFuzzer and the address sanitizer, and nothing else (scripts/dev/fuzz).
if let fuzz = Context.environment["LUNETTE_FUZZ"] {
    let sanitized = ["-sanitize=fuzzer,address", "-parse-as-library", "-g"]
    let swiftSettings = strict + [.unsafeFlags(sanitized + (fuzz == "shim" ? ["-wmo"] : []))]
    let linkerSettings: [LinkerSetting] = [.unsafeFlags(["-sanitize=fuzzer,address", "-use-ld=lld"])]
    package.products = [.executable(name: "lunette-fuzz", targets: ["lunette-fuzz"])]
    package.dependencies = []
    if fuzz == "shim" {
        // The shim's own sources as an ordinary library, over a kernel that acts on nothing.
        package.targets = [
            .target(
                name: "CLinux", path: "Tests/Fuzz/FakeKernel",
                cSettings: strictC + [.unsafeFlags(["-fsanitize=address", "-g", "-Wno-unused-parameter"])]),
            .target(name: "ShimUnderTest", dependencies: ["CLinux"], path: "Sources/lunette-shim", swiftSettings: swiftSettings),
            .executableTarget(
                name: "lunette-fuzz", dependencies: ["ShimUnderTest"], path: "Tests/Fuzz/Shim", swiftSettings: swiftSettings,
                linkerSettings: linkerSettings),
        ]
    } else {
        package.targets.removeAll { !["CLinux", "CSeccomp", "LunetteSpec", "LunetteLinux", "LunetteAPI"].contains($0.name) }
        for target in package.targets where target.name.hasPrefix("Lunette") { target.swiftSettings = swiftSettings }
        package.targets.append(
            .executableTarget(
                name: "lunette-fuzz", dependencies: ["LunetteSpec", "LunetteLinux", "LunetteAPI"], path: "Tests/Fuzz/Spec",
                swiftSettings: swiftSettings, linkerSettings: linkerSettings))
    }
}

// LUNETTE_PARTS=LunetteImages,LunetteImagesTests builds those targets and what they stand on, and nothing else.
if let parts = Context.environment["LUNETTE_PARTS"] {
    var wanted = Set(parts.split(separator: ",").map(String.init))
    var products: Set<String> = []
    var before = -1
    while before != wanted.count {
        before = wanted.count
        for target in package.targets where wanted.contains(target.name) {
            for dependency in target.dependencies {
                switch dependency {
                case .byNameItem(let name, _), .targetItem(let name, _): wanted.insert(name)
                case .productItem(let name, _, _, _): products.insert(name)
                @unknown default: break
                }
            }
        }
    }
    package.targets.removeAll { !wanted.contains($0.name) }
    if wanted.contains("lunette-oci") {
        // A section for each function: the linker puts them into an order.
        for target in package.targets where target.name.hasPrefix("Lunette") {
            target.swiftSettings = strict + [.unsafeFlags(["-Xfrontend", "-function-sections"], .when(configuration: .release))]
        }
    }
    package.products.removeAll { !wanted.contains($0.name) }
    if !products.contains("GRDB") { package.dependencies.removeAll { $0.kind.isGRDB } }
    if !products.contains("ArgumentParser") { package.dependencies.removeAll { !$0.kind.isGRDB } }
}

extension Package.Dependency.Kind {
    var isGRDB: Bool {
        if case .sourceControl(_, let location, _) = self { location.hasSuffix("GRDB.swift") } else { false }
    }
}
