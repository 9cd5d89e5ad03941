//! Whether a process of this machine still lives.

/// Who works here: the machine (and its space of process numbers), the process, and when the process began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    /// Empty where it cannot be told; such a worker is judged by its beats alone.
    pub(super) host: String,
    pub(super) pid: i64,
    /// In ticks since the machine started: a number used again later is another process.
    pub(super) start: i64,
}

impl Process {
    /// This process.
    pub(super) fn this() -> Self {
        let pid = i64::from(std::process::id());
        Self { host: host(), pid, start: begun(pid).unwrap_or(0) }
    }

    /// Whether it certainly no longer runs, seen from this process.
    pub(super) fn is_gone(&self) -> bool {
        !self.host.is_empty() && self.start > 0 && self.host == host() && begun(self.pid) != Some(self.start)
    }
}

/// The start of the machine and the space of process numbers: a container has another, on the same machine too.
fn host() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let space = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let (boot, space) = (boot.trim(), space.to_string_lossy());
    if boot.is_empty() || space.is_empty() { String::new() } else { format!("{boot}:{space}") }
}

/// When process `pid` began; absent if there is none or it is only waiting to be buried.
fn begun(pid: i64) -> Option<i64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything; the fields after it are plain.
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    // State is field 3; the start is field 22.
    fields.nth(18)?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_gone_when_killed_and_another_one_under_its_number_is_not_it() {
        let this = Process::this();
        assert!(this.start > 0 && !this.host.is_empty(), "{this:?}");
        assert!(!this.is_gone());
        assert!(Process { start: this.start + 1, ..this.clone() }.is_gone());
        assert!(!Process { host: "elsewhere".into(), ..Process { start: this.start + 1, ..this } }.is_gone());

        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i64::from(child.id());
        let it = Process { host: host(), pid, start: begun(pid).unwrap() };
        assert!(!it.is_gone());
        child.kill().unwrap();
        // Dead, whether it was buried or not.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !it.is_gone() && std::time::Instant::now() < until {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(it.is_gone());
        child.wait().unwrap();
        assert!(it.is_gone());
    }
}
