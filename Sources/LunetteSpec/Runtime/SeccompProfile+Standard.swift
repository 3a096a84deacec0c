extension SeccompProfile {
    package static let standard = SeccompProfile(defaultAction: .errno, defaultErrnoRet: 38)
}
