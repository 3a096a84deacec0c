extension RuntimeSpec.ProcessSection {
    /// Reads a process section that stands alone, as `exec --process` gets it.
    /// - Throws: `invalid_argument` with the field's path.
    package init(_ value: Value) throws(LunetteError) {
        var reader = try FieldReader(value, path: "process", firstIndex: 0)
        try self.init(reading: &reader)
    }
}
