//! Fail2Ban: bans the attacker of an alert in a jail, by `fail2ban-client`.
//!
//! Source: fail2ban-client(1). Only alerts that name an attacker do anything. Banning an address that
//! is banned already changes nothing, so that a repetition does no harm. A spoofed packet must not be
//! able to lock out what the network lives on: addresses of this machine, its gateways, and what the
//! endpoint protects are never banned.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;
use shared::clock::SharedClock;
use shared::model::{Alert, AlertAction, Party, PoolMember, Timestamp};
use shared::settings::LiveSettings;
use shared::store::Delivery;

use super::{DeliveryError, Endpoint, EndpointDeps, EndpointKind, Manners, Told, alert_of};
use crate::params::{Within, schema_is};
use crate::program::{End, Ended, Program, run};
use crate::target::is_own;

mod routes;

/// Where the client is; no setting names another program.
const CLIENTS: [&str; 2] = ["/usr/bin/fail2ban-client", "/usr/local/bin/fail2ban-client"];

/// Runs the client as root, where the operator allows that without a password.
const SUDO: &str = "/usr/bin/sudo";

/// How long the client may take.
const TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 10 });

/// The time in which bans are counted.
const MINUTE_NS: i64 = 60_000_000_000;

/// The kind `fail2ban`.
pub struct Fail2banKind;

impl EndpointKind for Fail2banKind {
    const NAME: &'static str = "fail2ban";
    const SAMPLE: &'static str = include_str!("../../../config/endpoints/fail2ban.toml");
    type Params = Fail2banParams;
    type RecipientParams = Fail2banRecipient;

    fn build(
        params: Fail2banParams,
        recipient: Fail2banRecipient,
        deps: &EndpointDeps,
    ) -> Result<Arc<dyn Endpoint>, String> {
        let clients = CLIENTS.map(PathBuf::from).into();
        let (bans, settings) = (Mutex::default(), deps.settings.clone());
        let (clock, sudo) = (Arc::clone(&deps.clock), SUDO.into());
        Ok(Arc::new(Fail2ban { clients, sudo, params, recipient, clock, bans, settings }))
    }
}

/// Parameters of a Fail2Ban endpoint.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fail2banParams {
    /// Socket of the server, where it is not in the usual place.
    socket: Option<SocketPath>,
    /// Run the client by `sudo -n`; sudoers must allow it for this one program.
    #[serde(default)]
    sudo: bool,
    /// Addresses and prefixes that are never banned.
    #[serde(default)]
    protected: Vec<Protected>,
    /// Names of host pools whose hosts are never banned. While there is no pool of such a name, nobody is.
    #[serde(default)]
    protected_pools: Vec<String>,
}

/// Parameters of a Fail2Ban recipient.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fail2banRecipient {
    /// Name of the jail.
    jail: Jail,
    /// Lift the ban when the alert is released.
    #[serde(default)]
    unban_on_release: bool,
    /// Most bans in a minute; more wait.
    #[serde(default)]
    max_per_minute: Within<1, 10_000, 60>,
}

/// An absolute path without what an option could begin with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(try_from = "PathBuf")]
#[schemars(with = "String")]
struct SocketPath(PathBuf);

impl TryFrom<PathBuf> for SocketPath {
    type Error = String;

    fn try_from(path: PathBuf) -> Result<Self, String> {
        match path.is_absolute() {
            true => Ok(Self(path)),
            false => Err(format!("{path:?} must be an absolute path")),
        }
    }
}

/// 1 to 64 letters, digits, `-` and `_`.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Jail(String);

schema_is!(Jail, { "type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$" });

impl TryFrom<String> for Jail {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        match (1..=64).contains(&name.len()) && !name.starts_with('-') && name.chars().all(allowed) {
            true => Ok(Self(name)),
            false => Err(format!("{name:?} must be 1 to 64 letters, digits, '-' and '_'")),
        }
    }
}

/// An address or a prefix.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Protected(IpNet);

schema_is!(Protected, { "type": "string", "description": "An address, or a prefix such as 10.0.0.0/8." });

impl TryFrom<String> for Protected {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let net = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        net.map(Self).map_err(|_| format!("{text:?} is neither an address nor a prefix"))
    }
}

#[derive(Debug)]
struct Fail2ban {
    /// The first that is there is run.
    clients: Vec<PathBuf>,
    sudo: PathBuf,
    params: Fail2banParams,
    recipient: Fail2banRecipient,
    clock: SharedClock,
    /// When the bans of the last minute were.
    bans: Mutex<VecDeque<Timestamp>>,
    /// Host pools.
    settings: LiveSettings,
}

impl Fail2ban {
    async fn client(&self, command: &[&str]) -> Result<Ended, DeliveryError> {
        let Some(client) = self.clients.iter().find(|path| path.is_file()) else {
            return Err(DeliveryError::permanent("fail2ban-client is not installed"));
        };
        let mut arguments: Vec<std::ffi::OsString> = Vec::new();
        if self.params.sudo {
            arguments.extend(["-n".into(), client.clone().into()]);
        }
        if let Some(socket) = &self.params.socket {
            arguments.extend(["-s".into(), socket.0.clone().into()]);
        }
        arguments.extend(command.iter().map(Into::into));
        let program = Program {
            path: if self.params.sudo { self.sudo.clone() } else { client.clone() },
            arguments,
            environment: Vec::new(),
            input: Vec::new(),
            folder: "/".into(),
            timeout: TIMEOUT,
            more_rights: self.params.sudo,
        };
        let ended = run(program).await.map_err(DeliveryError::retry)?;
        // A jail that is not there will not be there next time; everything else may.
        let unknown_jail = ["does not exist", "UnknownJail"].iter().any(|word| ended.output.contains(word));
        match ended.end {
            End::Code(0) => Ok(ended),
            _ if unknown_jail => {
                Err(DeliveryError::permanent(format!("there is no jail '{}'", self.recipient.jail.0)))
            }
            _ => Err(DeliveryError::retry(format!("fail2ban-client {ended}"))),
        }
    }

    async fn act(&self, alert: &Alert) -> Told {
        let verb = match alert.action {
            AlertAction::Engage | AlertAction::Store | AlertAction::Update => "banip",
            AlertAction::Release if self.recipient.unban_on_release => "unbanip",
            AlertAction::Release => return Ok(None),
        };
        let (mut first_error, mut told) = (Ok(()), Vec::new());
        for party in attackers(alert) {
            let ip = party.ip.to_canonical();
            let done = match self.may(verb, ip, party) {
                Ok(()) => self.set(verb, ip).await,
                Err(error) => Err(error),
            };
            first_error = first_error.and(done.map(|done| told.push(done)));
        }
        first_error.map(|()| Some(told.join("; ")).filter(|told| !told.is_empty()))
    }

    async fn set(&self, verb: &str, ip: IpAddr) -> Result<String, DeliveryError> {
        if verb == "banip" {
            self.take_allowance(self.clock.now())?;
        }
        let ended = self.client(&["set", &self.recipient.jail.0, verb, &ip.to_string()]).await?;
        tracing::info!(jail = self.recipient.jail.0, %ip, verb, result = %ended, "fail2ban executed");
        Ok(format!("{verb} {ip}: {ended}"))
    }

    fn take_allowance(&self, now: Timestamp) -> Result<(), DeliveryError> {
        let mut bans = self.bans.lock().unwrap_or_else(PoisonError::into_inner);
        while bans.front().is_some_and(|ban| now.since(*ban) >= MINUTE_NS) {
            bans.pop_front();
        }
        let most = self.recipient.max_per_minute.get();
        if let (true, Some(oldest)) = (bans.len() >= most, bans.front()) {
            let left = u64::try_from(MINUTE_NS - now.since(*oldest)).unwrap_or(0);
            let reason = format!("{most} addresses were banned within a minute");
            return Err(DeliveryError::Retry { after: Some(Duration::from_nanos(left)), reason });
        }
        bans.push_back(now);
        Ok(())
    }

    /// Refuses a ban of what is protected; to be tried again while it is not known what is.
    fn may(&self, verb: &str, ip: IpAddr, party: &Party) -> Result<(), DeliveryError> {
        if verb != "banip" {
            return Ok(());
        }
        if !self.params.protected_pools.is_empty() && !self.settings.borrow().edits_known {
            return Err(DeliveryError::retry(
                "the host pools, some of which are protected, are not known yet",
            ));
        }
        match self.protection(ip, party) {
            Some(why) => Err(DeliveryError::permanent(format!("{ip} is not banned: {why}"))),
            None => Ok(()),
        }
    }

    /// Why an address must not be banned.
    fn protection(&self, ip: IpAddr, party: &Party) -> Option<String> {
        let is = |what: &str| Some(format!("it is {what}"));
        if self.params.protected.iter().any(|protected| protected.0.contains(&ip)) {
            return is("protected");
        }
        if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() {
            return is("no address of another host");
        }
        if is_own(ip) {
            return is("an address of this machine");
        }
        if routes::gateways(Path::new("/proc/net")).contains(&ip) {
            return is("a gateway of this machine");
        }
        let settings = self.settings.borrow();
        for name in &self.params.protected_pools {
            match settings.pools.iter().find(|pool| pool.name == *name) {
                Some(pool) if pool.members.iter().any(|member| is_in(member, ip, party)) => {
                    return is(&format!("in the pool '{name}', which is protected"));
                }
                Some(_) => {}
                None => return Some(format!("there is no pool '{name}', which is protected")),
            }
        }
        None
    }
}

/// True of a host that a pool's member names in whatever VLAN: an address is banned in all of them.
fn is_in(member: &PoolMember, ip: IpAddr, party: &Party) -> bool {
    match member {
        PoolMember::Prefix { net, .. } => net.contains(&ip),
        PoolMember::Mac(_) => {
            party.mac.as_ref().is_some_and(|mac| member.to_string().eq_ignore_ascii_case(mac))
        }
    }
}

fn attackers(alert: &Alert) -> Vec<&Party> {
    let parties = [&alert.client, &alert.server].into_iter().flatten();
    let mut found: Vec<&Party> = parties.filter(|party| party.is_attacker).collect();
    found.dedup_by_key(|party| party.ip.to_canonical());
    found
}

#[async_trait]
impl Endpoint for Fail2ban {
    fn manners(&self) -> Manners {
        Manners::of_batch(1)
    }

    async fn deliver(&self, batch: &[Delivery]) -> Vec<Result<(), DeliveryError>> {
        self.deliver_told(batch).await.into_iter().map(|result| result.map(drop)).collect()
    }

    async fn deliver_told(&self, batch: &[Delivery]) -> Vec<Told> {
        let mut results = Vec::with_capacity(batch.len());
        for delivery in batch {
            results.push(match alert_of(delivery) {
                Ok(alert) => self.act(&alert).await,
                Err(error) => Err(error),
            });
        }
        results
    }

    /// Asks for the state of the jail.
    async fn test(&self) -> Result<String, DeliveryError> {
        self.client(&["status", &self.recipient.jail.0]).await.map(|ended| ended.shown())
    }
}

#[cfg(test)]
mod tests;
