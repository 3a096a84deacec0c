// libFuzzer's main comes with the linker; its entry and everything else are in FakeKernel/harness.c.

/// A bug that `scripts/dev/fuzz --self-check` wants found: a byte read behind the plan, once an input has three bytes that no kept one has all of.
/// The address sanitizer alone can see it. Each byte is its own turn of the loop, so that what has one more of them counts as new.
@_cdecl("lunette_fuzz_plant")
public func plant(_ data: UnsafePointer<UInt8>, _ size: Int, _ plan: UnsafePointer<UInt8>, _ length: Int) {
    let bytes = UnsafeBufferPointer(start: data, count: size)
    var found = 0
    for wanted: UInt8 in [0xF8, 0xFB, 0xFD] {
        guard bytes.contains(wanted) else { return }
        found += 1
    }
    if plan[max(length, 1) + found - 3] == 0xFF { fatalError("anything, so that the byte is read") }
}
