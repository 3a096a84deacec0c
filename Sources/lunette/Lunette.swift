import ArgumentParser
@main struct Lunette: ParsableCommand { func run() {} }
