//! `/networks/{network}/invites`: codes that let devices join.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::Caller;
use super::page::{Items, Nothing, PageQuery, Wanted};
use super::problem::Problem;
use super::sent::{Gone, Made, MaySay, Named, invalid, word, words};
use super::views::InviteView;
use crate::api::Web;
use crate::index::authority::Role;
use crate::index::invites::{Gives, NewInvite};
use crate::index::lists::{Filter, Page};

/// Most devices of one invite, as at the command line.
const USES_MAX: u32 = 100_000;

/// Longest life of what an invite gives, in seconds: ten years.
const MEMBER_MAX: u32 = 315_360_000;

/// Longest life of an invite, in seconds: a year.
const LIFE_MAX: u32 = 31_536_000;

/// An invite to be made; what is not named is as it says.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NewInviteBody {
    /// Whom it lets in: `device` (as if nothing is said) or `person`.
    #[schema(pattern = "^(device|person)$")]
    target: String,
    /// What a person becomes in the network: `member` (as if nothing is said), `guest` or `admin`.
    #[schema(pattern = "^(guest|member|admin)$")]
    role: Option<String>,
    /// Id of the user whose the devices become. A member may make invites for their own devices, of at most 10 uses and a week.
    owner_id: Option<String>,
    /// Tags that the devices get.
    tags: Vec<String>,
    /// Seconds that the membership or the role lasts from then; for ever without. At most ten years.
    #[schema(minimum = 1, maximum = 315_360_000)]
    member_for: Option<u32>,
    /// How many it lets in: 1.
    #[schema(minimum = 1, maximum = 100_000)]
    max_uses: u32,
    /// Seconds that it lasts: 86,400, a day. At most a year.
    #[schema(minimum = 1, maximum = 31_536_000)]
    expires_in: u32,
    /// Whether its holder is a member at once: yes, where the network approves by itself.
    auto_approve: bool,
}

impl Default for NewInviteBody {
    fn default() -> Self {
        Self {
            target: "device".to_owned(),
            role: None,
            owner_id: None,
            tags: Vec::new(),
            member_for: None,
            max_uses: 1,
            expires_in: 86_400,
            auto_approve: true,
        }
    }
}

impl NewInviteBody {
    fn gives(&self) -> Result<Gives, Problem> {
        let role = match (self.target.as_str(), self.role.as_deref()) {
            ("device", None) => None,
            ("device", Some(_)) => return Err(invalid("role: it is for the target \"person\"".to_owned())),
            ("person", role) => Some(role.map_or(Ok(Role::Member), |role| word("role", role))?),
            _ => return Err(invalid("target: it is device or person".to_owned())),
        };
        if self.member_for.is_some_and(|seconds| !(1..=MEMBER_MAX).contains(&seconds)) {
            return Err(invalid(format!("member_for is from 1 to {MEMBER_MAX} seconds")));
        }
        Ok(Gives {
            role,
            owner_id: self.owner_id.clone(),
            member_life_ms: self.member_for.map(|seconds| i64::from(seconds) * 1_000),
            tags: words("tags", &self.tags)?,
        })
    }
}

/// An invite that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewInviteView {
    #[serde(flatten)]
    invite: InviteView,
    /// Shown this once.
    code: String,
    /// What follows `lanyard join`; null for people, and where the server does not know its own name.
    #[schema(required)]
    join_string: Option<String>,
    /// The page to open; null where this server serves none.
    #[schema(required)]
    join_url: Option<String>,
}

/// Invites of a network, the newest first
#[utoipa::path(get, path = "/networks/{network}/invites", params(("network" = String, Path), PageQuery),
    responses((status = 200, body = Items<InviteView>)))]
pub(super) async fn list(
    caller: Caller,
    Named(network): Named<String>,
    wanted: Wanted<Nothing>,
) -> Result<Json<Items<InviteView>>, Problem> {
    let filter = Filter::network(caller.administered(&network).await?.id);
    let found = caller.index().invites_page(&caller.grants, &filter, &wanted.page).await?;
    Ok(Json(Items::of(found, InviteView::from)))
}

/// Make an invite; its code is shown this once
#[utoipa::path(post, path = "/networks/{network}/invites", params(("network" = String, Path)),
    request_body = NewInviteBody, responses((status = 201, body = NewInviteView)))]
pub(super) async fn add(
    State(web): State<Web>,
    caller: Caller,
    Named(network): Named<String>,
    MaySay(body): MaySay<NewInviteBody>,
) -> Result<Made<Json<NewInviteView>>, Problem> {
    let network = caller.network(&network).await?;
    if !(1..=USES_MAX).contains(&body.max_uses) || !(1..=LIFE_MAX).contains(&body.expires_in) {
        let detail = format!("max_uses is from 1 to {USES_MAX}, expires_in from 1 to {LIFE_MAX} seconds");
        return Err(invalid(detail));
    }
    let new = NewInvite {
        network: network.slug.clone(),
        max_uses: body.max_uses,
        lifetime_ms: i64::from(body.expires_in) * 1_000,
        auto_approve: body.auto_approve,
        gives: body.gives()?,
    };
    let key = match &web.entrance {
        Some(_) => Some(caller.index().public_key().await?),
        None => None,
    };
    let (invite, code) = caller.index().add_invite(&new, &caller.actor()).await?;
    let entrance = web.entrance.as_ref();
    // What a person gets is a page, and nothing for an agent.
    let is_for_people = invite.gives.role.is_some();
    let join_string = entrance.zip(key).filter(|_| !is_for_people);
    let join_string =
        join_string.map(|(entrance, key)| entrance.join_string(network.slug, code, key).to_string());
    let page = if is_for_people { "invite" } else { "join" };
    let join_url = entrance.and_then(|entrance| entrance.link(page, &code.to_string()).ok());
    Ok(Made(Json(NewInviteView { invite: invite.into(), code: code.to_string(), join_string, join_url })))
}

/// End an invite; who came in with it stays in
#[utoipa::path(delete, path = "/networks/{network}/invites/{id}",
    params(("network" = String, Path), ("id" = String, Path)), responses((status = 204)))]
pub(super) async fn revoke(
    caller: Caller,
    Named((network, id)): Named<(String, String)>,
) -> Result<Gone, Problem> {
    let network = caller.administered(&network).await?;
    let filter = Filter { id: Some(id), ..Filter::network(network.id) };
    let found = caller.index().invites_page(&caller.grants, &filter, &Page::first(1)).await?;
    let invite = found.rows.into_iter().next().ok_or_else(|| Problem::not_found("invite"))?;
    caller.index().revoke_invite(&invite.id, &caller.actor()).await?;
    Ok(Gone)
}
