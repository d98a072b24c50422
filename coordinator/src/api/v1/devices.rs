//! `/devices`: enrolled machines.

use axum::Json;
use lanyard_wire::ids::DeviceId;
use lanyard_wire::names::DeviceName;
use serde::{Deserialize, Deserializer};
use utoipa::{IntoParams, ToSchema};

use super::caller::Caller;
use super::links::LinkView;
use super::page::{Items, Nothing, PageQuery, Wanted, looked_for, truth};
use super::problem::Problem;
use super::sent::{Gone, IfMatch, Named, Sent, Tagged, invalid};
use super::views::DeviceView;
use crate::index::devices::Device;
use crate::index::edits::DeviceWishes;
use crate::index::lists::{Filter, Page};

/// Which devices.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Only those in this network, by its name or id.
    #[serde(default)]
    #[param(required = false)]
    network: String,
    /// Only those of this user, by id.
    #[serde(default)]
    #[param(required = false)]
    user: String,
    /// Only those that are online, or are not: `true` or `false`.
    #[serde(default)]
    #[param(required = false, pattern = "^(true|false)$")]
    online: String,
    /// Only those that this query finds.
    #[serde(default)]
    #[param(required = false, max_length = 512)]
    q: String,
}

/// What is to change about a device; what is not named stays as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeviceBody {
    /// Its name; it gives itself another when it joins with one.
    #[schema(min_length = 1, max_length = 63)]
    name: Option<String>,
    /// Whether it is switched off in every network.
    suspended: Option<bool>,
    /// Id of the user it belongs to; null for nobody.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<String>)]
    user_id: Option<Option<String>>,
}

/// Tells null from what is not there.
pub(super) fn said<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

/// The device of that id, if the caller may know of it.
pub(super) async fn seen(caller: &Caller, id: &str) -> Result<Device, Problem> {
    let filter = Filter::id(id.to_ascii_lowercase());
    let found = caller.index().devices_page(&caller.grants, &filter, &Page::first(1)).await?;
    found.rows.into_iter().next().ok_or_else(|| Problem::not_found("device"))
}

fn shown(caller: &Caller, device: Device) -> Tagged<DeviceView> {
    Tagged(caller.index().version(&device), DeviceView::of(device, &caller.grants))
}

/// Devices of one's own and of networks where one has a role, by name
#[utoipa::path(get, path = "/devices", params(PageQuery, Which), responses((status = 200, body = Items<DeviceView>)))]
pub(super) async fn list(caller: Caller, wanted: Wanted<Which>) -> Result<Json<Items<DeviceView>>, Problem> {
    let Which { network, user, online, q } = wanted.filter;
    let network = match network.as_str() {
        "" => None,
        name => Some(caller.network(name).await?.id),
    };
    let filter = Filter {
        network,
        user: Some(user).filter(|user| !user.is_empty()),
        online: truth("online", &online)?,
        query: looked_for(&q)?,
        ..Filter::default()
    };
    let found = caller.index().devices_page(&caller.grants, &filter, &wanted.page).await?;
    Ok(Json(Items::of(found, |device| DeviceView::of(device, &caller.grants))))
}

/// A device
#[utoipa::path(get, path = "/devices/{id}", params(("id" = String, Path)), responses((status = 200, body = DeviceView)))]
pub(super) async fn show(caller: Caller, Named(id): Named<String>) -> Result<Tagged<DeviceView>, Problem> {
    let device = seen(&caller, &id).await?;
    Ok(shown(&caller, device))
}

/// Change a device: its name by its user, anything by an administrator of the server
#[utoipa::path(patch, path = "/devices/{id}", params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body = DeviceBody, responses((status = 200, body = DeviceView)))]
pub(super) async fn set(
    caller: Caller,
    Named(id): Named<String>,
    IfMatch(version): IfMatch,
    Sent(body): Sent<DeviceBody>,
) -> Result<Tagged<DeviceView>, Problem> {
    let device = seen(&caller, &id).await?;
    let name = body.name.map(|name| DeviceName::parse(&name)).transpose();
    let wishes = DeviceWishes {
        name: name.map_err(|why| invalid(format!("name: {why}")))?,
        is_suspended: body.suspended,
        user_id: body.user_id,
    };
    let device = caller.index().set_device(device.id, &wishes, &caller.actor_if(version)).await?;
    Ok(shown(&caller, device))
}

/// Take a device off the server: out of every network
#[utoipa::path(delete, path = "/devices/{id}", params(("id" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204)))]
pub(super) async fn remove(
    caller: Caller,
    Named(id): Named<String>,
    IfMatch(version): IfMatch,
) -> Result<Gone, Problem> {
    let device = seen(&caller, &id).await?;
    caller.index().remove_device(device.id, &caller.actor_if(version)).await?;
    Ok(Gone)
}

/// How it reaches others, as either end reported last
#[utoipa::path(get, path = "/devices/{id}/links", params(("id" = String, Path), PageQuery),
    responses((status = 200, body = Items<LinkView>)))]
pub(super) async fn links(
    caller: Caller,
    Named(id): Named<String>,
    wanted: Wanted<Nothing>,
) -> Result<Json<Items<LinkView>>, Problem> {
    let Nothing {} = wanted.filter;
    let device: DeviceId = seen(&caller, &id).await?.id;
    let filter = Filter { device: Some(device), ..Filter::default() };
    let found = caller.index().links_page(&caller.grants, &filter, &wanted.page).await?;
    Ok(Json(Items::of(found, LinkView::from)))
}
