//! What the operating system says about the process, under the names that all programs use for it.
//!
//! Read from proc(5) whenever `/metrics` is; what cannot be read is left out.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::process::{Resource, getrlimit};

/// Memory and open files of this process.
#[derive(Debug)]
pub(super) struct ThisProcess;

impl Collector for ThisProcess {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let gauges = [
            ("process_open_fds", "Open file descriptors, sockets included.", open_files()),
            ("process_max_fds", "So many may be open.", getrlimit(Resource::Nofile).current),
            ("process_resident_memory_bytes", "Memory in RAM.", resident_bytes()),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value.and_then(|value| i64::try_from(value).ok()) {
                let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                ConstGauge::new(value).encode(gauge)?;
            }
        }
        Ok(())
    }
}

/// One of them is the folder that is read.
fn open_files() -> Option<u64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(count).ok()?.checked_sub(1)
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_more_is_a_descriptor_more() {
        let before = open_files().unwrap();
        // Other tests of this process open and close files, too: enough of them are seen.
        let files: Vec<_> = (0..200).map(|_| fs::File::open("/proc/self/status").unwrap()).collect();
        assert!(open_files().unwrap() > before + 100);
        drop(files);
        assert!(resident_bytes().unwrap() > 1_000_000);
    }
}
