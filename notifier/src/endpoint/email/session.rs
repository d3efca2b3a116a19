//! One SMTP session a mail.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, AsyncTokioStream, Certificate, CertificateStore, Identity, TlsParameters,
};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::secret::Secret;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::message::Draft;
use crate::endpoint::DeliveryError;
use crate::http::HttpUrl;
use crate::http::answer::said;
use crate::http::params::TlsParams;
use crate::target::Targets;
use crate::tls::Connector;

/// How long a session may take: less than a claim lasts.
const TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 5 } else { 30 });

/// Longest answer of a proxy to `CONNECT`, in bytes.
const PROXY_ANSWER: usize = 8192;

/// How a connection is made private.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    /// From the first byte (implicit TLS).
    #[default]
    Tls,
    /// After a command (STARTTLS), or not at all when the server does not know it: then nothing is sent.
    Starttls,
    /// Never.
    None,
}

/// A mail server and how to speak to it.
pub struct Server {
    host: String,
    port: u16,
    security: Security,
    connector: Connector,
    starttls: TlsParameters,
    credentials: Option<Credentials>,
    proxy: Option<(String, u16)>,
    /// What the proxy is shown of who asks.
    proxy_login: Option<Secret>,
    targets: Targets,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "smtp {}:{}", self.host, self.port)
    }
}

impl Server {
    /// A server that trusts, and is shown, these certificates.
    ///
    /// # Errors
    /// Names the file that cannot be used.
    pub fn new(host: String, port: Option<u16>, security: Security, tls: &TlsParams) -> Result<Self, String> {
        let port = port.unwrap_or(match security {
            Security::Tls => 465,
            Security::Starttls => 587,
            Security::None => 25,
        });
        let (connector, starttls) = (Connector::new(tls)?, starttls(&host, tls)?);
        Ok(Self {
            host,
            port,
            security,
            connector,
            starttls,
            credentials: None,
            proxy: None,
            proxy_login: None,
            targets: Targets::any(),
        })
    }

    /// The same, with user and password.
    pub fn with_credentials(self, credentials: Option<(String, Secret)>) -> Self {
        let of = |(user, password): (String, Secret)| Credentials::new(user, password.reveal().to_owned());
        Self { credentials: credentials.map(of), ..self }
    }

    /// The same, to these targets alone.
    pub fn within(self, targets: &Targets) -> Self {
        Self { targets: targets.clone(), ..self }
    }

    /// The same, reached through an HTTP proxy.
    ///
    /// # Errors
    /// Says that the proxy's address is not one.
    pub fn through(self, proxy: Option<HttpUrl>) -> Result<Self, String> {
        let proxy_login = proxy.as_ref().and_then(HttpUrl::login);
        let proxy = proxy.map(|url| url.host_and_port().ok_or("proxy has no host")).transpose()?;
        Ok(Self { proxy, proxy_login, ..self })
    }

    /// Sends a mail to all its addresses but those that are refused for good. An address that asks to
    /// wait makes all wait, unless `hurry`. Gives what the server said.
    ///
    /// # Errors
    /// [`DeliveryError`] when nobody got it.
    pub async fn send(&self, draft: &Draft, hurry: bool) -> Result<String, DeliveryError> {
        let session = async {
            let mut connection = self.open().await?;
            let sent = self.transact(&mut connection, draft, hurry).await;
            // What was said last does not depend on a farewell.
            let _ = connection.quit().await;
            sent
        };
        match tokio::time::timeout(TIMEOUT, session).await {
            Ok(sent) => sent,
            Err(_) => Err(DeliveryError::retry(format!("{}: no end within {TIMEOUT:?}", self.host))),
        }
    }

    async fn transact(
        &self,
        connection: &mut AsyncSmtpConnection,
        draft: &Draft,
        hurry: bool,
    ) -> Result<String, DeliveryError> {
        let failed = |what: &str, error: &Error| self.failure(what, error);
        let mail = Mail::new(Some(draft.from.clone()), Vec::new());
        connection.command(mail).await.map_err(|e| failed("sender", &e))?;
        let (mut accepted, mut refused, mut waiting) = (0, None, None);
        for address in &draft.to {
            match connection.command(Rcpt::new(address.clone(), Vec::new())).await {
                Ok(_) => accepted += 1,
                Err(error) if error.is_permanent() => {
                    let error = failed(&format!("address {address}"), &error);
                    tracing::warn!(server = self.host, %error, "a mail is not sent to one of its addresses");
                    refused = Some(error);
                }
                Err(error) if error.is_transient() => {
                    waiting = Some(failed(&format!("address {address}"), &error));
                }
                Err(error) => return Err(failed("connection", &error)),
            }
        }
        match (waiting, refused) {
            // Nobody has it yet, so that waiting sends it to nobody twice.
            (Some(error), _) if !hurry || accepted == 0 => return Err(error),
            (_, Some(error)) if accepted == 0 => return Err(error),
            _ => {}
        }
        connection.command(Data).await.map_err(|e| failed("mail", &e))?;
        let answer = connection.message(&draft.bytes).await.map_err(|e| failed("mail", &e))?;
        let text: Vec<&str> = answer.message().collect();
        Ok(format!("{} answered {} {}", self.host, answer.code(), said(&text.join(" "))))
    }

    async fn open(&self) -> Result<AsyncSmtpConnection, DeliveryError> {
        let name = ClientId::default();
        let no_way =
            |e: String| DeliveryError::retry(format!("cannot reach {}:{}: {e}", self.host, self.port));
        let stream = self.connect().await.map_err(|error| match error {
            DeliveryError::Permanent { .. } => error,
            error => no_way(error.to_string()),
        })?;
        let stream: Box<dyn AsyncTokioStream> = match self.security {
            Security::Tls => {
                Box::new(Private(self.connector.connect(&self.host, stream).await.map_err(no_way)?))
            }
            Security::Starttls | Security::None => Box::new(stream),
        };
        let connected = AsyncSmtpConnection::connect_with_transport(stream, &name).await;
        let mut connection = connected.map_err(|e| self.failure("greeting", &e))?;
        if self.security == Security::Starttls {
            if !connection.can_starttls() {
                let reason = format!("{} does not offer STARTTLS; nothing was sent", self.host);
                return Err(DeliveryError::permanent(reason));
            }
            let upgraded = connection.starttls(self.starttls.clone(), &name).await;
            upgraded.map_err(|e| self.failure("STARTTLS", &e))?;
        }
        if let Some(credentials) = &self.credentials {
            let ways = [Mechanism::Plain, Mechanism::Login];
            connection.auth(&ways, credentials).await.map_err(|e| self.failure("login", &e))?;
        }
        Ok(connection)
    }

    /// Connects to the server, or to the proxy, which is not even asked for what endpoints may not reach.
    async fn connect(&self) -> Result<TcpStream, DeliveryError> {
        let Some((host, port)) = &self.proxy else {
            let found = self.targets.resolve(&self.host, self.port).await?;
            return TcpStream::connect(found.as_slice()).await.map_err(DeliveryError::retry);
        };
        let through = |e: std::io::Error| DeliveryError::retry(format!("through proxy {host}:{port}: {e}"));
        self.targets.check_by_another(&self.host, self.port).await?;
        let found = self.targets.resolve(host, *port).await?;
        let mut stream = TcpStream::connect(found.as_slice()).await.map_err(through)?;
        let target = format!("{}:{}", self.host, self.port);
        let basic = |login: &Secret| STANDARD.encode(login.reveal());
        let login = self.proxy_login.as_ref().map(basic);
        let login = login.map(|login| format!("Proxy-Authorization: Basic {login}\r\n")).unwrap_or_default();
        let ask = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{login}\r\n");
        stream.write_all(ask.as_bytes()).await.map_err(through)?;
        let mut answer = Vec::new();
        // Byte by byte: what follows the answer is the server's.
        while !answer.ends_with(b"\r\n\r\n") && answer.len() < PROXY_ANSWER {
            answer.push(stream.read_u8().await.map_err(through)?);
        }
        let status = String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or_default().to_owned();
        match status.starts_with('2') && status.len() == 3 {
            true => Ok(stream),
            false => Err(DeliveryError::retry(format!("proxy {host}:{port} answered {}", said(&status)))),
        }
    }

    fn failure(&self, what: &str, error: &Error) -> DeliveryError {
        let reason = format!("{}: {what}: {}", self.host, said(&with_causes(error)));
        // Errors of the client's own, such as no common way to log in, do not change by waiting.
        match error.is_permanent() || error.is_client() {
            true => DeliveryError::permanent(reason),
            false => DeliveryError::retry(reason),
        }
    }
}

fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    if let Some(cause) = std::error::Error::source(error)
        && !text.contains(&cause.to_string())
    {
        text.push_str(&format!(": {cause}"));
    }
    text
}

fn starttls(host: &str, tls: &TlsParams) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(file) = &tls.ca_file {
        let wrong = |e: Error| format!("ca_file '{}': {}", file.path().display(), with_causes(&e));
        builder = builder.certificate_store(CertificateStore::None);
        builder = builder.add_root_certificate(Certificate::from_pem(file.bytes()).map_err(wrong)?);
    }
    if let Some(file) = &tls.client_cert_file {
        let wrong = |e: Error| format!("client_cert_file '{}': {}", file.path().display(), with_causes(&e));
        builder = builder.identify_with(Identity::from_pem(file.bytes(), file.bytes()).map_err(wrong)?);
    }
    builder.build().map_err(|e| format!("TLS: {}", with_causes(&e)))
}

/// A private connection, in the form that the library takes.
#[derive(Debug)]
struct Private(TlsStream<TcpStream>);

impl AsyncTokioStream for Private {
    fn peer_addr(&self) -> std::io::Result<std::net::SocketAddr> {
        self.0.get_ref().0.peer_addr()
    }
}

impl AsyncRead for Private {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Private {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
