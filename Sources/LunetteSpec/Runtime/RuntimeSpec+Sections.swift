extension RuntimeSpec.ProcessSection {
    /// Reads a process section that stands alone, as `exec --process` gets it.
    /// - Throws: `invalid_argument` with the field's path.
    package init(_ value: Value) throws(LunetteError) {
        var reader = try FieldReader(value, path: "process")
        try self.init(reading: &reader)
    }
}

extension RuntimeSpec.Resources {
    /// Reads a resources section that stands alone, as `update` gets it.
    /// - Throws: `invalid_argument` with the field's path.
    package init(_ value: Value) throws(LunetteError) {
        var reader = try FieldReader(value, path: "resources")
        try self.init(reading: &reader)
    }
}
