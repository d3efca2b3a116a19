//! Where scripts come from: the program itself, a folder, or somebody's hands.

use std::path::{Path, PathBuf};

use super::{ScriptError, ScriptKind};

/// Largest script file in bytes.
pub const MAX_SOURCE: u64 = 256 * 1024;

/// Who brought a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Part of the program.
    Builtin,
    /// A file of the user's.
    File(PathBuf),
    /// Given as text.
    Inline,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Builtin => f.write_str("built-in"),
            Self::File(path) => path.display().fmt(f),
            Self::Inline => f.write_str("inline"),
        }
    }
}

/// The text of one script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptSource {
    /// The file's name without extension; the script's key when it gives none.
    pub name: String,
    /// Who brought it.
    pub origin: Origin,
    /// The kind its folder is named after.
    pub folder: Option<ScriptKind>,
    /// The script.
    pub text: String,
}

impl ScriptSource {
    /// XXH3-64 of the text in hexadecimal.
    pub fn hash(&self) -> String {
        format!("{:016x}", xxhash_rust::xxh3::xxh3_64(self.text.as_bytes()))
    }
}

macro_rules! builtin {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../../../config/scripts/", $name, ".rhai")))),+]
    };
}

/// The checks that are part of the program, by name.
pub fn builtin() -> Vec<ScriptSource> {
    let files = builtin![
        "active_local_hosts",
        "anonymous_subscriber",
        "arp_scan",
        "binary_data_transfer",
        "blacklisted",
        "blacklisted_client_contact",
        "blacklisted_server_contact",
        "broadcast_domain_too_large",
        "broadcast_non_udp",
        "clear_text_protocol",
        "countries_contacts",
        "country_check",
        "crypto_mining",
        "dangerous_host",
        "data_exfiltration",
        "desktop_or_file_sharing_session",
        "device_protocol_not_allowed",
        "dga_domain",
        "disk_monitor",
        "dns_contacts",
        "dns_data_exfiltration",
        "dns_flood",
        "dns_fragmented",
        "dns_large_packet",
        "dns_suspicious_traffic",
        "domain_names_contacts",
        "dropped_alerts",
        "elephant_flow",
        "error_code",
        "executable_transfer",
        "fin_scan",
        "flow_calls_drops",
        "flow_flood",
        "flow_flood_victim",
        "fully_encrypted",
        "ghost_networks",
        "host_active",
        "host_bytes",
        "host_dns",
        "host_flows",
        "host_flows_behaviour",
        "host_idle",
        "host_log",
        "host_p2p",
        "host_packets",
        "host_throughput",
        "host_traffic_behaviour",
        "http_crawler",
        "http_obsolete_server",
        "http_suspicious_content",
        "http_suspicious_header",
        "http_suspicious_url",
        "http_suspicious_user_agent",
        "icmp_flood",
        "iec_invalid_command_transition",
        "iec_invalid_transition",
        "iec_unexpected_type_id",
        "interface_bytes",
        "interface_dns",
        "interface_idle",
        "interface_p2p",
        "interface_packets",
        "interface_score_behaviour",
        "interface_throughput",
        "interface_traffic_behaviour",
        "invalid_characters",
        "ip_reassignment",
        "lateral_movement",
        "long_lived_flow",
        "low_goodput",
        "malformed_packet",
        "malicious_certificate",
        "malicious_fingerprint",
        "malware_host_contacted",
        "minor_issues",
        "modbus_invalid_transition",
        "modbus_too_many_exceptions",
        "modbus_unexpected_function",
        "network_bytes",
        "network_discovery",
        "network_egress",
        "network_flow_flood_victim",
        "network_ingress",
        "network_inner",
        "network_issues",
        "network_score",
        "network_syn_flood_victim",
        "network_syn_scan_victim",
        "no_activity",
        "no_exporter_activity",
        "non_standard_port",
        "not_purged",
        "ntp_contacts",
        "numeric_host",
        "obsolete_tls",
        "peers_contacts",
        "periodic_activity_not_executed",
        "periodic_beacon",
        "possible_exploit",
        "probing_attempt",
        "punycode_name",
        "rare_destination",
        "remote_access",
        "remote_connection",
        "remote_to_local_insecure_flow",
        "remote_to_remote",
        "request_reply_ratio",
        "risky_asn",
        "risky_domain",
        "rst_scan",
        "scan_detection",
        "score_threshold",
        "slow_periodic_activity",
        "smb_insecure_version",
        "smtp_contacts",
        "ssh_obsolete_client",
        "ssh_obsolete_server",
        "summaries_missing",
        "suricata",
        "suspicious_entropy",
        "syn_flood",
        "syn_flood_victim",
        "syn_scan",
        "syn_scan_victim",
        "system_error",
        "tcp_issues",
        "tcp_no_data_exchanged",
        "tcp_packets_issues",
        "tcp_refused",
        "tcp_reset",
        "tcp_unanswered",
        "tls_alpn_sni_mismatch",
        "tls_certificate_expired",
        "tls_certificate_expires_soon",
        "tls_certificate_mismatch",
        "tls_certificate_self_signed",
        "tls_certificate_too_long",
        "tls_fatal_alert",
        "tls_missing_sni",
        "tls_not_carrying_https",
        "tls_suspicious_esni",
        "tls_suspicious_extension",
        "tls_uncommon_alpn",
        "tls_weak_cipher",
        "too_many_drops",
        "too_many_flows",
        "too_many_hosts",
        "unexpected_dhcp",
        "unexpected_dns",
        "unexpected_gateway",
        "unexpected_ntp",
        "unexpected_smtp",
        "unidirectional",
        "unsafe_protocol",
        "url_command_injection",
        "url_sql_injection",
        "url_xss",
        "vlan_bidirectional_traffic",
        "web_mining",
        "zero_tcp_window",
    ];
    files
        .into_iter()
        .map(|(name, text)| ScriptSource {
            name: name.to_owned(),
            origin: Origin::Builtin,
            folder: None,
            text: text.to_owned(),
        })
        .collect()
}

/// The `*.rhai` files of a folder and of its sub-folders named after kinds (`flow`, `host`, …), sorted
/// by path.
///
/// # Errors
/// Names the folder or file that cannot be read, is not UTF-8, or is larger than [`MAX_SOURCE`].
pub fn load_dir(dir: &Path) -> Result<Vec<ScriptSource>, ScriptError> {
    let mut sources = load_files(dir, None)?;
    for kind in ScriptKind::ALL {
        let folder = dir.join(kind.name());
        if folder.is_dir() {
            sources.extend(load_files(&folder, Some(kind))?);
        }
    }
    Ok(sources)
}

fn load_files(dir: &Path, folder: Option<ScriptKind>) -> Result<Vec<ScriptSource>, ScriptError> {
    let entries = std::fs::read_dir(dir).map_err(|e| unreadable(dir, &e))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|e| e.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "rhai") && path.is_file());
    paths.sort();
    let load = |path: PathBuf| Ok(ScriptSource { folder, ..load_file(&path)? });
    paths.into_iter().map(load).collect()
}

/// The script of one file.
///
/// # Errors
/// As those of [`load_dir`].
pub fn load_file(path: &Path) -> Result<ScriptSource, ScriptError> {
    let size = std::fs::metadata(path).map_err(|e| unreadable(path, &e))?.len();
    if size > MAX_SOURCE {
        return Err(unreadable(path, &format!("{size} bytes are more than {MAX_SOURCE}")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| unreadable(path, &e))?;
    let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    Ok(ScriptSource { name, origin: Origin::File(path.to_owned()), folder: None, text })
}

fn unreadable(path: &Path, cause: &dyn std::fmt::Display) -> ScriptError {
    ScriptError {
        script: path.display().to_string(),
        line: 0,
        column: 0,
        cause: format!("cannot be read: {cause}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_its_scripts_sorted_with_the_kind_of_their_folder() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("interface")).unwrap();
        for name in ["b.rhai", "a.rhai", "notes.txt", "interface/c.rhai"] {
            std::fs::write(dir.path().join(name), "#{}").unwrap();
        }
        let found = load_dir(dir.path()).unwrap();
        let found: Vec<_> = found.iter().map(|s| (s.name.as_str(), s.folder)).collect();
        assert_eq!(found, [("a", None), ("b", None), ("c", Some(ScriptKind::Interface))]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let error = load_dir(Path::new("/nonexistent/scripts")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/scripts"), "{error}");
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("large.rhai"), vec![b' '; MAX_SOURCE as usize + 1]).unwrap();
        let error = load_dir(dir.path()).unwrap_err().to_string();
        assert!(error.contains("large.rhai") && error.contains("262145"), "{error}");
    }
}
