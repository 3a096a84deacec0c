extension Int64 {
    /// Twice as much, or the largest number there is: a limit that large is none.
    package var doubled: Int64 {
        let (result, isTooMuch) = multipliedReportingOverflow(by: 2)
        return isTooMuch ? (self < 0 ? .min : .max) : result
    }
}
