//! `lanyard-server find`

use std::process::ExitCode;

use super::{Place, device, member, network, user};
use crate::index::Clock;
use crate::index::authority::Grants;
use crate::index::lists::{Filter, PAGE_MAX, Page};
use crate::index::metadata::Kind;
use crate::index::query::Query;

/// Find devices, members, users or networks: os:windows tag:nas site:berlin -is:online.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A term is a word that is looked for everywhere, FIELD:VALUE or KEY:VALUE of the metadata; a - before it means \
                        \"not\", and a,b after the colon \"either\". Fields: id name number os version owner net tag group ip \
                        is:online|offline|suspended|pending|active|admin|disabled."
)]
pub struct Find {
    /// What to look for.
    #[arg(required = true)]
    query: Vec<String>,
    /// What kind of thing: device, member, user or network.
    #[arg(long, default_value_t = Kind::Device, value_name = "KIND")]
    kind: Kind,
    /// Most rows, up to 500.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(PAGE_MAX)))]
    limit: u32,
}

impl Find {
    pub(super) async fn run(self, place: &Place) -> anyhow::Result<ExitCode> {
        let query: Query = self.query.join(" ").parse()?;
        let index = place.index(&place.config()?).await?;
        let (filter, page) = (Filter { query, ..Filter::default() }, Page::first(self.limit));
        let (all, now) = (Grants::operator(), Clock::system().now_ms());
        let note = |has_more: bool| if has_more { "(there are more: --limit shows them)\n" } else { "" };
        match self.kind {
            Kind::Device => {
                let found = index.devices_page(&all, &filter, &page).await?;
                place.output.print("devices", &found.rows, || {
                    device::render(&found.rows, now) + note(found.next.is_some())
                })
            }
            Kind::Member => {
                let found = index.members_page(&all, &filter, &page).await?;
                place.output.print("members", &found.rows, || {
                    member::render(&found.rows, now) + note(found.next.is_some())
                })
            }
            Kind::User => {
                let found = index.users_page(&all, &filter, &page).await?;
                place.output.print("users", &found.rows, || {
                    user::render(&found.rows, now) + note(found.next.is_some())
                })
            }
            Kind::Network => {
                let found = index.networks_page(&all, &filter, &page).await?;
                place.output.print("networks", &found.rows, || {
                    network::render(&found.rows) + note(found.next.is_some())
                })
            }
        }
    }
}
