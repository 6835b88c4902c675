//! `agent/host`: the machine below this agent, by `/proc` and the file system. `Errors` names files that are unreadable.

use crate::http::HttpParts;
use crate::http::ask::{Call, Pending};
use crate::http::error::ErrorResponse;
use serde_json::{Map, Value, json};
use std::fs;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// `GET agent/host`
pub(in crate::http) fn host(_api: &Arc<HttpParts>, _call: Call) -> Pending {
    Box::pin(async {
        // Reading files may block.
        let report = tokio::task::spawn_blocking(report).await;
        super::json(&report.map_err(|error| ErrorResponse::failed(format!("reading the host's state failed: {error}")))?)
    })
}

fn report() -> Value {
    let mut errors = Vec::new();
    let mut text = |path: &str| {
        fs::read_to_string(path).unwrap_or_else(|error| {
            errors.push(format!("{path}: {error}"));
            String::new()
        })
    };
    let memory = memory(&text("/proc/meminfo"));
    let cpus = cpus(&text("/proc/cpuinfo"));
    let mut host = system(&text("/etc/os-release"));
    let seconds = text("/proc/uptime").split('.').next().and_then(|whole| whole.parse().ok()).unwrap_or(0_u64);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    host.insert("uptime".to_owned(), seconds.into());
    host.insert("bootTime".to_owned(), now.as_secs().saturating_sub(seconds).into());
    host.insert("hostname".to_owned(), text("/proc/sys/kernel/hostname").trim().into());
    host.insert("kernelVersion".to_owned(), text("/proc/sys/kernel/osrelease").trim().into());
    host.insert("hostid".to_owned(), text("/proc/sys/kernel/random/boot_id").trim().into());
    let disk = disk("/").unwrap_or_else(|error| {
        errors.push(error);
        Value::Null
    });
    let nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    let errors = if errors.is_empty() { Value::Null } else { json!(errors) };
    json!({"Memory": memory, "CPU": cpus, "Host": host, "Disk": disk, "CollectionTime": nanos, "Errors": errors})
}

/// Bytes of memory, from the kibibytes of `/proc/meminfo`.
fn memory(meminfo: &str) -> Value {
    let bytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0).saturating_mul(1024)
    };
    let (total, available) = (bytes("MemTotal"), bytes("MemAvailable"));
    let used = total.saturating_sub(available);
    json!({
        "total": total, "available": available, "used": used, "usedPercent": percent(used, total),
        "free": bytes("MemFree"), "active": bytes("Active"), "inactive": bytes("Inactive"),
        "buffers": bytes("Buffers"), "cached": bytes("Cached"), "shared": bytes("Shmem"), "slab": bytes("Slab"),
        "dirty": bytes("Dirty"), "swapTotal": bytes("SwapTotal"), "swapFree": bytes("SwapFree"),
    })
}

/// One entry a processor, from the blocks of `/proc/cpuinfo`.
fn cpus(cpuinfo: &str) -> Vec<Value> {
    let blocks = cpuinfo.split("\n\n").filter(|block| block.contains("processor"));
    let entry = |block: &str| {
        let field = |name: &str| {
            let lines = block.lines().filter_map(|line| line.split_once(':'));
            lines.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned()).next().unwrap_or_default()
        };
        json!({
            "cpu": field("processor").parse::<i64>().unwrap_or(0),
            "vendorId": field("vendor_id"), "family": field("cpu family"), "model": field("model"),
            "stepping": field("stepping").parse::<i64>().unwrap_or(0),
            "physicalId": field("physical id"), "coreId": field("core id"), "cores": 1,
            "modelName": field("model name"), "mhz": field("cpu MHz").parse::<f64>().unwrap_or(0.0),
            "flags": field("flags").split_whitespace().collect::<Vec<_>>(), "microcode": field("microcode"),
        })
    };
    blocks.map(entry).collect()
}

/// The operating system, from `/etc/os-release`.
fn system(os_release: &str) -> Map<String, Value> {
    let field = |name: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or("").trim_matches('"').to_owned()
    };
    let pairs = [
        ("os", std::env::consts::OS.to_owned()),
        ("kernelArch", std::env::consts::ARCH.to_owned()),
        ("platform", field("ID")),
        ("platformFamily", field("ID_LIKE")),
        ("platformVersion", field("VERSION_ID")),
    ];
    pairs.map(|(name, value)| (name.to_owned(), Value::String(value))).into_iter().collect()
}

/// Bytes and inodes of the file system at `path`.
fn disk(path: &str) -> Result<Value, String> {
    let stat = rustix::fs::statvfs(path).map_err(|error| format!("{path}: {error}"))?;
    let total = stat.f_blocks.saturating_mul(stat.f_frsize);
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let used = stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize);
    let inodes_used = stat.f_files.saturating_sub(stat.f_ffree);
    Ok(json!({
        "path": path, "total": total, "free": free, "used": used, "usedPercent": percent(used, used.saturating_add(free)),
        "inodesTotal": stat.f_files, "inodesUsed": inodes_used, "inodesFree": stat.f_ffree,
        "inodesUsedPercent": percent(inodes_used, stat.f_files),
    }))
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sections_are_there_and_what_is_missing_is_named() {
        let report = report();
        for section in ["Memory", "CPU", "Host", "Disk", "CollectionTime", "Errors"] {
            assert!(report.get(section).is_some(), "{section}");
        }
    }

    #[test]
    fn the_files_of_the_kernel_are_read_as_they_are_written() {
        let memory = memory("MemTotal:  1000 kB\nMemAvailable: 250 kB\nActive(anon): 7 kB\nActive: 3 kB\n");
        let found = ["total", "usedPercent", "active"].map(|name| memory[name].clone());
        assert_eq!(found, [json!(1_024_000), json!(75.0), json!(3072)]);
        let cpus = cpus("processor\t: 0\nmodel name\t: A\n\nprocessor\t: 1\nflags\t: x y\n\n");
        assert_eq!((cpus.len(), &cpus[0]["modelName"], &cpus[1]["flags"]), (2, &json!("A"), &json!(["x", "y"])));
        assert_eq!(system("ID=debian\nVERSION_ID=\"13\"\n")["platformVersion"], "13");
    }
}
