# Both halves of `make test` at the same time: the second one mostly waits for processes that it has
# started.  Run by the Makefile, with -j2.
.PHONY: both test-engine test-sessions

both: test-engine test-sessions
test-engine test-sessions:
	@MAKEFLAGS= $(MAKE) --no-print-directory -f Makefile $@
