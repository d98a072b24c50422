//! `lanyard-server token add|list|end`

use std::process::ExitCode;

use clap::Subcommand;
use lanyard_wire::names::NetworkName;
use serde_json::json;

use super::output::table;
use super::{Place, args, operator};
use crate::index::Clock;
use crate::index::tokens::{ApiToken, BEGIN, NewToken, Scope};
use crate::words::{ago, span};

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a token with which a program acts for a user. It is shown this once.
    Add {
        /// Their name or id.
        user: String,
        /// What the token is called.
        name: String,
        /// What it may: read or write.
        #[arg(long, default_value_t = Scope::Read, value_name = "read|write")]
        scope: Scope,
        /// The only network it may touch.
        #[arg(long, value_name = "NETWORK", value_parser = args::network_name)]
        network: Option<NetworkName>,
        /// How long it lasts: 90s, 30m, 24h or 7d; for ever without.
        #[arg(long, value_name = "TIME", value_parser = args::lifetime_ms)]
        expires: Option<i64>,
    },
    /// List the tokens of a user that can be used.
    List {
        /// Their name or id.
        user: String,
    },
    /// End a token.
    End {
        /// Its id.
        id: String,
    },
}

impl Command {
    pub(super) async fn run(self, place: &Place) -> anyhow::Result<ExitCode> {
        let index = place.index(&place.config()?).await?;
        let now = Clock::system().now_ms();
        match self {
            Self::Add { user, name, scope, network, expires } => {
                let user = index.user(&user).await?;
                let new = NewToken { name, scope, network, lifetime_ms: expires };
                let (token, secret) = index.add_token(&user, &new, &operator()).await?;
                let secret = format!("{BEGIN}{}", secret.reveal());
                place.output.print("token", &json!({ "token": token, "secret": secret }), || {
                    format!("{secret}\n(acts for {}, scope {}; shown this once)\n", user.name, token.scope)
                })
            }
            Self::List { user } => {
                let tokens = index.tokens_of(&index.user(&user).await?).await?;
                place.output.print("tokens", &tokens, || render(&tokens, now))
            }
            Self::End { id } => {
                index.end_token(&id, &operator()).await?;
                place.output.print("ended", &id, || format!("token {id} opens nothing any more\n"))
            }
        }
    }
}

fn render(tokens: &[ApiToken], now: i64) -> String {
    let rows: Vec<Vec<String>> = tokens
        .iter()
        .map(|token| {
            let used = token.last_used_at.map_or_else(|| "never".to_owned(), |at| ago(at, now));
            let ends = token.expires_at.map_or_else(|| "-".to_owned(), |at| format!("in {}", span(at - now)));
            let begin = format!("{BEGIN}{}...", token.prefix);
            vec![token.id.clone(), token.name.clone(), begin, token.scope.to_string(), used, ends]
        })
        .collect();
    table(&["TOKEN", "NAME", "BEGINS", "SCOPE", "USED", "ENDS"], &rows)
}
