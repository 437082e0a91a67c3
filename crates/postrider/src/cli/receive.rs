//! `postrider receive`: the sample receiver.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use axum::http::StatusCode;
use clap::Args;
use postrider_delivery::signature::SigningKey;
use postrider_types::Secret;

use super::End;
use super::hidden::Hidden;
use super::output::say;
use crate::receiver::{Answer, Received, Receiver};
use crate::shutdown::stop_token;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postrider receive --port 9000
  postrider receive --port 9000 --status 503 --delay 200    a slow endpoint that fails
  postrider receive --port 0 --secret whsec_…               a free port; verify signatures")]
pub(crate) struct Receive {
    /// The port to listen on; 0 takes a free one
    #[arg(long, value_name = "N")]
    port: u16,
    /// The address to listen on
    #[arg(long, value_name = "ADDR", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    listen: IpAddr,
    /// The status to answer
    #[arg(long, default_value = "200", value_parser = status)]
    status: StatusCode,
    /// How long to wait before the answer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=3_600_000))]
    delay: u64,
    /// The webhook's signing secret, to verify signatures with
    #[arg(long, value_name = "whsec_…", value_parser = Hidden(secret))]
    secret: Option<Secret>,
}

fn status(text: &str) -> Result<StatusCode, String> {
    let code = text.parse::<u16>().ok().filter(|code| (200..=599).contains(code));
    let status = code.and_then(|code| StatusCode::from_u16(code).ok());
    status.ok_or_else(|| "a status is 200 to 599".to_owned())
}

fn secret(text: &str) -> Result<Secret, String> {
    let secret = Secret::new(text);
    SigningKey::parse(&secret).map_err(|error| error.to_string())?;
    Ok(secret)
}

impl Receive {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(self.serve())?;
        Ok(End::Done)
    }

    async fn serve(self) -> anyhow::Result<()> {
        let address = SocketAddr::new(self.listen, self.port);
        let answer = Answer {
            status: self.status,
            delay: Duration::from_millis(self.delay),
        };
        let stop = stop_token()?;
        let gone = stop.clone();
        let script = move |received: &Received| {
            let told = say(&format!("{}\n\n", received.describe()));
            if told.is_err() {
                gone.cancel();
            }
            answer
        };
        let receiver = Receiver::bind(address, self.secret, script).await;
        let receiver = receiver.with_context(|| format!("cannot listen on {address}"))?;
        say(&format!("listening on http://{}", receiver.address()))?;
        Ok(receiver.run(stop).await?)
    }
}
