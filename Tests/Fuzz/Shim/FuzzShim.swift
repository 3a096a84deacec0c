// libFuzzer's main comes with the linker; its entry and everything else are in FakeKernel/harness.c.
