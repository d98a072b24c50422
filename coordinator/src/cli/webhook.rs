//! `lanyard-server webhook add|list|set|test|remove|log`

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::Subcommand;
use lanyard_wire::names::NetworkName;
use serde_json::json;

use super::output::table;
use super::{Place, args, operator};
use crate::index::lists::Page;
use crate::index::webhooks::deliveries::{Delivery, DeliveryState};
use crate::index::webhooks::{HookEvent, NewWebhook, Webhook, WebhookWishes};
use crate::index::{Clock, Index, IndexError};
use crate::words::{ago, span};

/// What to do with webhooks.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a webhook and print the secret that its messages are signed with. It is shown this once.
    #[command(after_help = "Example: lanyard-server webhook add https://example.org/hooks --network home")]
    Add {
        /// Where messages go.
        url: String,
        /// The network it hears of; the whole server without.
        #[arg(long, value_name = "NETWORK", value_parser = args::network_name)]
        network: Option<NetworkName>,
        /// What it hears of, with commas between; everything without.
        #[arg(long, value_name = "EVENTS", value_delimiter = ',')]
        events: Vec<HookEvent>,
        /// What people read of it.
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
    },
    /// List webhooks.
    List {
        /// Of one network only.
        #[arg(value_parser = args::network_name)]
        network: Option<NetworkName>,
    },
    /// Change a webhook; what is not named stays.
    Set {
        /// Its id.
        id: String,
        /// What to change.
        #[command(flatten)]
        wishes: Wishes,
    },
    /// Have a message sent that says nothing but that messages arrive; "webhook log" shows what became of it.
    Test {
        /// Its id.
        id: String,
    },
    /// Take a webhook away.
    Remove {
        /// Its id.
        id: String,
    },
    /// Show what was sent to a webhook in the last 7 days, the newest last.
    Log {
        /// Its id.
        id: String,
        /// How many of the newest.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        last: u32,
    },
}

/// Changes to one webhook, at least one.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub struct Wishes {
    /// Where messages go.
    #[arg(long)]
    url: Option<String>,
    /// What it hears of, with commas between.
    #[arg(long, value_name = "EVENTS", value_delimiter = ',')]
    events: Vec<HookEvent>,
    /// What people read of it.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Whether it is off. On again, it hears of what happens from then on.
    #[arg(long, value_name = "yes|no", value_parser = super::user::yes_or_no)]
    disabled: Option<bool>,
    /// Give it another secret, at once.
    #[arg(long)]
    new_secret: bool,
}

impl Command {
    pub(super) async fn run(self, place: &Place) -> anyhow::Result<ExitCode> {
        let index = place.index(&place.config()?).await?;
        let now = Clock::system().now_ms();
        match self {
            Self::Add { url, network, events, description } => {
                let events = if events.is_empty() { HookEvent::ALL.into() } else { set_of(events) };
                let new = NewWebhook { network, url, events, description };
                let (webhook, secret) = index.add_webhook(&new, &operator()).await?;
                let secret = secret.reveal();
                place.output.print("webhook", &json!({ "webhook": webhook, "secret": secret }), || {
                    format!("{secret}\n(signs the messages of webhook {}; shown this once)\n", webhook.id)
                })
            }
            Self::List { network } => {
                let webhooks = index.webhooks(network.as_ref()).await?;
                place.output.print("webhooks", &webhooks, || list(&webhooks, now))
            }
            Self::Set { id, wishes } => wishes.grant(&id, place, &index).await,
            Self::Test { id } => {
                let delivery = index.test_webhook(&id, &operator()).await?;
                place.output.print("delivery", &delivery, || {
                    format!("the running server sends it; \"lanyard-server webhook log {id}\" shows what became of it\n")
                })
            }
            Self::Remove { id } => {
                let webhook = index.remove_webhook(&id, &operator()).await?;
                place.output.print("removed", &webhook.id, || format!("webhook {} is gone\n", webhook.id))
            }
            Self::Log { id, last } => {
                let webhook = index.webhooks(None).await?.into_iter().find(|webhook| webhook.id == id);
                let webhook = webhook.ok_or(IndexError::NotFound {
                    what: "webhook",
                    name: id,
                    hint: ": \"lanyard-server webhook list\" shows what there is",
                })?;
                let mut deliveries = index.deliveries_page(&webhook, &Page::first(last)).await?.rows;
                deliveries.reverse();
                place.output.print("deliveries", &deliveries, || log(&deliveries, now))
            }
        }
    }
}

impl Wishes {
    async fn grant(self, id: &str, place: &Place, index: &Index) -> anyhow::Result<ExitCode> {
        let wishes = WebhookWishes {
            url: self.url,
            events: (!self.events.is_empty()).then(|| set_of(self.events)),
            description: self.description,
            is_disabled: self.disabled,
            new_secret: self.new_secret,
        };
        let (webhook, secret) = index.set_webhook(id, &wishes, &operator()).await?;
        let secret = secret.map(|secret| secret.reveal());
        place.output.print("webhook", &json!({ "webhook": webhook, "secret": secret }), || match &secret {
            Some(secret) => format!("{secret}\n(shown this once)\n"),
            None => format!("webhook {} is changed\n", webhook.id),
        })
    }
}

fn set_of(events: Vec<HookEvent>) -> BTreeSet<HookEvent> {
    events.into_iter().collect()
}

/// How a webhook is, in a few words.
fn state(webhook: &Webhook, now: i64) -> String {
    match (webhook.disabled_at, webhook.failing_since) {
        (Some(at), _) => format!("off since {}", ago(at, now)),
        (None, Some(at)) => format!("failing for {}", span(now - at)),
        (None, None) => "on".to_owned(),
    }
}

// An address and six events do not fit a column: each webhook has a line of its own for them.
fn list(webhooks: &[Webhook], now: i64) -> String {
    let rows: Vec<Vec<String>> = webhooks
        .iter()
        .map(|webhook| {
            let network = webhook.network.as_ref().map_or_else(|| "(server)".to_owned(), ToString::to_string);
            vec![webhook.id.clone(), network, state(webhook, now), webhook.description.clone()]
        })
        .collect();
    let table = table(&["WEBHOOK", "OF", "STATE", "DESCRIPTION"], &rows);
    let mut lines = table.lines().map(str::to_owned).collect::<Vec<_>>();
    for (place, webhook) in webhooks.iter().enumerate().rev() {
        let events: Vec<&str> = webhook.events.iter().map(|event| event.as_str()).collect();
        lines.insert(place + 2, format!("  {} {}", webhook.url, events.join(",")));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn log(deliveries: &[Delivery], now: i64) -> String {
    let rows: Vec<Vec<String>> = deliveries
        .iter()
        .map(|delivery| {
            let state = match delivery.state {
                DeliveryState::Pending if delivery.tries > 0 => {
                    format!("again in {}", span(delivery.next_at - now))
                }
                DeliveryState::Pending => "waits".to_owned(),
                DeliveryState::Delivered => {
                    format!("delivered {}", ago(delivery.done_at.unwrap_or(now), now))
                }
                DeliveryState::Failed => format!("failed {}", ago(delivery.done_at.unwrap_or(now), now)),
            };
            let why = delivery.last_error.clone().unwrap_or_default();
            vec![delivery.event.to_string(), delivery.tries.to_string(), state, why]
        })
        .collect();
    table(&["EVENT", "TRIES", "STATE", "LAST ERROR"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_says_what_became_of_each() {
        let delivery = Delivery {
            id: "01".to_owned(),
            event: HookEvent::DeviceOnline,
            payload: "{}".to_owned(),
            state: DeliveryState::Pending,
            tries: 2,
            next_at: 100_000,
            last_status: Some(500),
            last_error: Some("status 500".to_owned()),
            created_at: 0,
            done_at: None,
        };
        let done = Delivery {
            state: DeliveryState::Delivered,
            done_at: Some(40_000),
            last_error: None,
            ..delivery.clone()
        };
        assert_eq!(
            log(&[delivery, done], 60_000),
            "EVENT          TRIES  STATE               LAST ERROR\n\
             device.online  2      again in 40 s       status 500\n\
             device.online  2      delivered 20 s ago\n"
        );
    }

    #[test]
    fn a_list_says_where_each_leads_and_what_it_hears() {
        let webhook = Webhook {
            id: "01jx".to_owned(),
            network_id: None,
            network: None,
            url: "https://example.org/".to_owned(),
            events: [HookEvent::DeviceOnline, HookEvent::MemberLeft].into(),
            description: "chat".to_owned(),
            anywhere: true,
            created_by: "milena".to_owned(),
            created_at: 0,
            secret_at: 0,
            failing_since: Some(0),
            disabled_at: None,
        };
        let off = Webhook { id: "01jw".to_owned(), disabled_at: Some(0), ..webhook.clone() };
        assert_eq!(
            list(&[webhook, off], 7_200_000),
            "WEBHOOK  OF        STATE              DESCRIPTION\n\
             01jx     (server)  failing for 2 h    chat\n  \
               https://example.org/ device.online,member.left\n\
             01jw     (server)  off since 2 h ago  chat\n  \
               https://example.org/ device.online,member.left\n"
        );
    }
}
