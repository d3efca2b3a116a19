//! How to reach the server.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use crate::secret::Secret;

/// How long a transaction may stay open without a statement: a process that hangs then loses its locks.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(15);

/// How long the far end of a connection may be silent to what was sent before the connection is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// The `[store.postgres]` section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresConfig {
    /// Where and as whom: `postgresql://user@host:port/database`; several hosts of one cluster parted by
    /// commas, of which the one that takes writes is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Secret>,
    /// Password, when it is not in the URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Schema that holds the tables; created when missing.
    pub schema: String,
    /// Connections of this process at most.
    pub pool_size: usize,
    /// Seconds that connecting, or waiting for a free connection, may take.
    pub connect_timeout_s: u64,
    /// Seconds that a statement may take; 0 sets no limit.
    pub statement_timeout_s: u64,
    /// Refuse a connection without TLS.
    pub tls_required: bool,
    /// File with the certificate authority of the server, in PEM; else the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<PathBuf>,
    /// File with this program's certificate, in PEM, for a server that asks for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    /// File with the certificate's key, in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self {
            url: None,
            password: None,
            schema: "flowhook".to_owned(),
            pool_size: 8,
            connect_timeout_s: 5,
            statement_timeout_s: 60,
            tls_required: false,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
        }
    }
}

impl PostgresConfig {
    /// Everything that is wrong but well-formed, each with its key below the section.
    pub fn check(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if self.schema.is_empty()
            || self.schema.len() > 60
            || self.schema.starts_with("pg_")
            || self.schema.starts_with(|c: char| c.is_ascii_digit())
            || !self.schema.chars().all(word)
        {
            wrong.push(format!(
                "schema: '{}' is not a name of small letters, digits and underscores",
                self.schema
            ));
        }
        if self.pool_size < 2 {
            wrong.push("pool_size: must be at least 2".to_owned());
        }
        if self.connect_timeout_s == 0 {
            wrong.push("connect_timeout_s: must be at least 1".to_owned());
        }
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            wrong.push("tls_cert and tls_key go together".to_owned());
        }
        if let Err(cause) = self.connection() {
            wrong.push(format!("url: {cause}"));
        }
        wrong
    }

    /// What the driver wants to know.
    pub(super) fn connection(&self) -> Result<tokio_postgres::Config, String> {
        let url = self.url.as_ref().ok_or("is needed: postgresql://user@host:port/database")?;
        // The driver's error may quote what it cannot read, so only its kind is told.
        let mut config: tokio_postgres::Config =
            url.reveal().parse().map_err(|e: tokio_postgres::Error| {
                let cause = std::error::Error::source(&e).map(ToString::to_string).unwrap_or_default();
                match cause.contains('`') {
                    true => format!("{e}: {cause}"),
                    false => "is no address of a server".to_owned(),
                }
            })?;
        if config.get_hosts().is_empty() {
            return Err("names no host".to_owned());
        }
        if config.get_user().is_none() {
            return Err("names no user".to_owned());
        }
        if let Some(password) = &self.password {
            config.password(password.reveal());
        }
        if self.tls_required {
            config.ssl_mode(SslMode::Require);
        } else if config.get_ssl_mode() == SslMode::Prefer {
            // A certificate is always checked here, and one that cannot be is no reason to go without.
            config.ssl_mode(SslMode::Disable);
        }
        if config.get_application_name().is_none() {
            config.application_name("flowhook");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(self.connect_timeout_s));
        }
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.keepalives_idle(SILENCE / 3);
        config.tcp_user_timeout(SILENCE);
        let own = format!(
            "-c search_path={} -c statement_timeout={} -c idle_in_transaction_session_timeout={}",
            self.schema,
            self.statement_timeout_s.saturating_mul(1000),
            IDLE_IN_TRANSACTION.as_millis()
        );
        let options = config.get_options().map_or_else(|| own.clone(), |theirs| format!("{theirs} {own}"));
        config.options(options);
        Ok(config)
    }
}

/// Hosts, database and user, to be shown.
pub(super) fn shown(config: &tokio_postgres::Config) -> String {
    let port = |place: usize| config.get_ports().get(place).or(config.get_ports().first()).copied();
    let host = |(place, host): (usize, &Host)| match host {
        Host::Tcp(name) => format!("{name}:{}", port(place).unwrap_or(5432)),
        Host::Unix(folder) => folder.display().to_string(),
    };
    let hosts: Vec<String> = config.get_hosts().iter().enumerate().map(host).collect();
    let user = config.get_user().unwrap_or_default();
    format!("postgresql://{user}@{}/{}", hosts.join(","), config.get_dbname().unwrap_or(user))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(url: &str) -> PostgresConfig {
        PostgresConfig { url: Some(Secret::new(url)), ..PostgresConfig::default() }
    }

    #[test]
    fn what_is_wrong_is_named_without_the_password() {
        assert!(with("postgresql://u:hunter2@h/db").check().is_empty());
        let odd = |config: PostgresConfig| config.check().join("; ");
        assert!(odd(PostgresConfig::default()).contains("url: is needed"));
        for url in
            ["mysql://u:hunter2@h/db", "postgresql://u:hunter2@h:port/db", "postgresql://u:hunter2@h?x=1"]
        {
            let wrong = odd(with(url));
            assert!(wrong.starts_with("url: ") && !wrong.contains("hunter2"), "{wrong}");
        }
        assert!(odd(with("postgresql:///db")).contains("names no"));
        let config =
            PostgresConfig { schema: "Bad; --".to_owned(), pool_size: 1, ..with("postgresql://u@h/d") };
        assert!(odd(config.clone()).contains("schema") && odd(config).contains("pool_size"));
        let config = PostgresConfig { tls_cert: Some("c.pem".into()), ..with("postgresql://u@h/d") };
        assert!(odd(config).contains("go together"));
    }

    #[test]
    fn what_is_shown_holds_no_password() {
        let config = PostgresConfig {
            password: Some(Secret::new("hunter2")),
            ..with("postgresql://u:hunter2-x@a,b:5/db")
        };
        let shown = shown(&config.connection().unwrap());
        assert!(
            !shown.contains("hunter2") && shown.starts_with("postgresql://u@a:") && shown.ends_with("/db"),
            "{shown}"
        );
    }

    #[test]
    fn tls_is_all_or_nothing() {
        let mode = |config: PostgresConfig| config.connection().unwrap().get_ssl_mode();
        assert_eq!(mode(with("postgresql://u@h/d")), SslMode::Disable);
        assert_eq!(mode(with("postgresql://u@h/d?sslmode=require")), SslMode::Require);
        let required = PostgresConfig { tls_required: true, ..with("postgresql://u@h/d") };
        assert_eq!(mode(required), SslMode::Require);
    }
}
