//! A polygate that runs beside the test.

use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// A process that uses no processor time for so long has come to a standstill, however busy the machine is.
const STANDSTILL: Duration = Duration::from_secs(120);

/// Milliseconds of processor time that no wait here takes.
const MOST_CPU: u64 = 300_000;

/// A process that does not outlive the test.
pub struct Running {
    child: Child,
    system: System,
    /// Milliseconds of processor time, and when they last grew.
    cpu: (u64, Instant),
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        Self { child: command.spawn().unwrap(), system: System::new().unwrap(), cpu: (0, Instant::now()) }
    }

    /// Waits until something is so; fails where the process ends before.
    pub fn wait_for(&mut self, what: &str, done: impl FnMut() -> bool) {
        assert!(self.reaches(what, done), "the process ended before {what}");
    }

    /// Waits until something is so, or until the process ends; whether it is so.
    pub fn reaches(&mut self, what: &str, mut done: impl FnMut() -> bool) -> bool {
        loop {
            let ended = self.child.try_wait().unwrap().is_some();
            if done() || ended {
                return done();
            }
            self.assert_progress(what);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the process ends.
    #[cfg(unix)]
    pub fn end(&mut self, what: &str) -> ExitStatus {
        self.reaches(what, || false);
        self.child.wait().unwrap()
    }

    /// Asks it to stop, as Ctrl-C does.
    #[cfg(unix)]
    pub fn interrupt(&self) {
        assert!(Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Ends it at once.
    pub fn kill(&mut self) -> ExitStatus {
        self.child.kill().unwrap();
        self.child.wait().unwrap()
    }

    fn assert_progress(&mut self, what: &str) {
        let pid = Pid::from_u32(self.child.id());
        let kind = ProcessRefreshKind::nothing().with_cpu();
        self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, kind);
        let Some(process) = self.system.process(pid) else { return };
        let used = process.accumulated_cpu_time();
        if used > self.cpu.0 {
            self.cpu = (used, Instant::now());
        }
        assert!(self.cpu.1.elapsed() < STANDSTILL, "waited in vain for {what}: the process does nothing");
        assert!(used < MOST_CPU, "waited in vain for {what}: the process took {used} ms of processor time");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
