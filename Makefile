# The thin face of the build; CMake does the work (CMakePresets.json names the kinds of build).
.PHONY: build demo check check-long bench fuzz-smoke format clean

build: packages-build
	@cmake --preset release >build/configure.log 2>&1 || { cat build/configure.log; exit 1; }
	@cmake --build --preset release --target carrel carrel-enclave carrel-enclave-tee carrel-accelerator

packages-%:
	@mkdir -p build
	@scripts/install-packages.sh $*

demo: build
	@cmake --build --preset release --target test_slicing_theft # which the demo shows
	@examples/demo/run.sh

check: packages-check
	@scripts/check.sh

check-long: packages-long
	@scripts/check-long.sh

bench: build
	@build/bin/carrel bench

fuzz-smoke: packages-check
	@scripts/fuzz.sh 10

format: packages-check
	@git ls-files -co --exclude-standard '*.c' '*.h' | xargs clang-format-19 -i

clean:
	@rm -rf build
