import Glibc
import LunetteOCI

exit(OCIProgram.main(Array(CommandLine.arguments.dropFirst())))
