// The API over a made-up world: the routes the panel uses, with ETags, problems and the live stream.

import type { IncomingMessage, ServerResponse } from "node:http";
import type * as T from "../../src/api/types";
import { changeMetadata, metadataOf, putGroup } from "./about.ts";
import { type Asked, any, bodyOf, found, networkOf, ok, page } from "./asked.ts";
import { listed } from "./find.ts";
import { addInvite } from "./invites.ts";
import { Refused } from "./refused.ts";
import { hoursOf, reportOf } from "./links.ts";
import { answerWebhooks } from "./webhooks.ts";
import { type World, eventOf, worldOf } from "./world.ts";

/** How often something changes by itself. */
const TICK_MS = 1_500;

export class Server {
  readonly #world: World;
  readonly #listeners = new Set<ServerResponse>();
  #timer: ReturnType<typeof setInterval> | undefined;
  /** Set by POST /api/v1/mock/down: the stream is cut and refused. */
  #isDown = false;
  /** Set by /api/v1/mock/refuse: the next change of such a thing is refused, once. */
  #refusal: { noun: string; refused: Refused } | undefined;

  constructor(wish: URLSearchParams) {
    const as = wish.get("as");
    this.#world = worldOf({
      devices: Number(wish.get("devices") ?? 200),
      as: as === "member" || as === "owner" ? as : "admin",
      isEmpty: wish.has("empty"),
    });
    const tick = Number(wish.get("tick") ?? TICK_MS);
    if (tick > 0) this.#timer = setInterval(() => this.#live(), tick);
  }

  stop(): void {
    clearInterval(this.#timer);
    for (const listener of this.#listeners) listener.end();
  }

  async answer(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const path = url.pathname.split("/").slice(3).map(decodeURIComponent);
    if (path[0] === "mock") return this.#control(path[1] ?? "", url, response);
    if (path[0] === "live") return this.#follow(response);
    try {
      const asked: Asked = {
        method: request.method ?? "GET",
        path,
        query: url.searchParams,
        body: await bodyOf(request),
        ifMatch: request.headers["if-match"],
      };
      const answer = this.#route(asked);
      if (answer === undefined) return void response.writeHead(204).end();
      const id = (answer as { id?: string }).id;
      response.writeHead(asked.method === "POST" ? 201 : 200, {
        "content-type": "application/json",
        ...(id === undefined ? {} : { etag: this.#etag(id) }),
      });
      response.end(JSON.stringify(answer));
    } catch (error) {
      const refused = error instanceof Refused ? error : new Refused(500, "internal", String(error));
      response.writeHead(refused.status, { "content-type": "application/problem+json" });
      response.end(
        JSON.stringify({
          type: "about:blank",
          title: refused.code,
          status: refused.status,
          code: refused.code,
          detail: refused.message,
        }),
      );
    }
  }

  /** What tests do to the world: cut the stream, change a thing behind the panel's back. */
  #control(what: string, url: URL, response: ServerResponse): void {
    if (what === "down" || what === "up") {
      this.#isDown = what === "down";
      if (this.#isDown) for (const listener of this.#listeners) listener.end();
    } else if (what === "rename") {
      const member = this.#world.members.get(url.searchParams.get("id")!)!;
      this.#put("member", this.#world.members, { ...member, name: url.searchParams.get("name")! });
    } else if (what === "describe") {
      const { devices } = this.#world;
      const id = url.searchParams.get("device")!;
      const entries = { [url.searchParams.get("key")!]: { value: url.searchParams.get("value")! } };
      const asked = { method: "PATCH", path: [], query: url.searchParams, body: { entries }, ifMatch: undefined };
      this.#about("device", devices.get(id)!, asked);
    } else if (what === "report") {
      const link = this.#world.links.get(url.searchParams.get("id")!)!;
      const report = { ...reportOf(link, () => 0), tx_bps: Number(url.searchParams.get("bps")) };
      this.#put("link", this.#world.links, { ...link, report });
    } else if (what === "refuse") {
      const of = (key: string) => url.searchParams.get(key) ?? "";
      this.#refusal = { noun: of("noun"), refused: new Refused(Number(of("status")), of("code"), of("detail")) };
    } else if (what === "verdict") {
      const link = this.#world.links.get(url.searchParams.get("id")!)!;
      const code = url.searchParams.get("code")!;
      this.#put("link", this.#world.links, { ...link, code, at: Date.now(), report: null });
    } else if (what === "join") {
      this.#join(url.searchParams.get("name") ?? "newcomer");
    } else if (what === "reset") {
      for (const listener of this.#listeners) listener.write(`event: reset\nid: ${this.#world.revision}\ndata: {}\n\n`);
    }
    response.end(String(Date.now()));
  }

  #follow(response: ServerResponse): void {
    if (this.#isDown) return void response.writeHead(503).end();
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    response.write(": hello\n\n");
    this.#listeners.add(response);
    response.on("close", () => this.#listeners.delete(response));
  }

  #tell(kind: string, data: unknown): void {
    this.#world.revision += 1;
    for (const listener of this.#listeners)
      listener.write(`event: ${kind}\nid: ${this.#world.revision}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  #put<S extends { id: string }>(kind: string, map: Map<string, S>, item: S): S {
    map.set(item.id, item);
    this.#world.versions.set(item.id, (this.#world.versions.get(item.id) ?? 0) + 1);
    this.#tell(kind, { op: "put", item });
    return item;
  }

  #gone(kind: string, map: Map<string, unknown>, id: string): undefined {
    map.delete(id);
    this.#tell(kind, { op: "gone", id });
    return undefined;
  }

  #etag(id: string): string {
    return `"${this.#world.versions.get(id) ?? 0}"`;
  }

  #match(id: string, { ifMatch }: Asked): void {
    if (ifMatch !== undefined && ifMatch !== this.#etag(id))
      throw new Refused(412, "index.changed", "it was changed since it was read");
  }

  /** Somebody comes or goes; now and then a path changes. */
  #live(): void {
    const world = this.#world;
    const device = any(world.devices, world.random);
    if (!device) return;
    const online = !device.online;
    this.#put("device", world.devices, { ...device, online, last_seen_at: Date.now() });
    for (const member of world.members.values()) {
      if (member.device_id === device.id && member.state === "active")
        this.#put("member", world.members, { ...member, online, last_seen_at: Date.now() });
    }
    const link = any(world.links, world.random);
    if (link && world.random() < 0.5)
      this.#put("link", world.links, {
        ...link,
        code: link.code === "direct" ? "mapping_varies_there" : "direct",
        at: Date.now(),
      });
    for (const busy of world.links.values()) {
      if (busy.report && world.random() < 0.05)
        this.#put("link", world.links, { ...busy, report: reportOf(busy, world.random) });
    }
  }

  #join(name: string): void {
    const world = this.#world;
    const n = world.devices.size + 5_000;
    const network = any(world.networks, () => 0)!;
    const number = "555-000-111";
    const device: T.Device = {
      id: `d_new${n}`,
      number,
      name,
      user_id: null,
      os: "linux",
      agent_version: "0.1.0",
      online: true,
      last_seen_at: Date.now(),
      last_ip: "203.0.113.77",
      suspended_at: null,
      created_at: Date.now(),
    };
    this.#put("device", world.devices, device);
    const member = this.#put("member", world.members, {
      id: `m_new${n}`,
      network: network.name,
      device_id: device.id,
      number,
      name,
      state: "pending",
      ip4: null,
      ip6: null,
      joined_via: "invite",
      online: true,
      last_seen_at: Date.now(),
      user_id: null,
      tags: [],
      expires_at: null,
      created_at: Date.now(),
    });
    this.#put("network", world.networks, { ...network, pending: network.pending + 1 });
    this.#event("member.join", member);
  }

  #event(code: string, member: T.Member): void {
    const event = eventOf(this.#world, code, member, Date.now());
    this.#world.events.unshift(event);
    this.#tell("event", { op: "put", item: event });
  }

  #route(asked: Asked): unknown {
    const world = this.#world;
    const { method, path, body } = asked;
    const [noun, id, more, part, verb] = path;
    if (method !== "GET" && this.#refusal?.noun === noun) {
      const { refused } = this.#refusal!;
      this.#refusal = undefined;
      throw refused;
    }
    switch (noun) {
      case "snapshot":
        return {
          revision: world.revision,
          me: world.me,
          users: [...world.users.values()],
          networks: [...world.networks.values()],
          devices: [...world.devices.values()],
          members: [...world.members.values()],
          links: [...world.links.values()],
        };
      case "health":
        return {
          version: "0.1.0",
          services: {
            checkpoint: ok(),
            handshake: ok(),
            index: ok(),
            relay: { state: "degraded", why: "the second relay does not answer" },
            stun: ok(),
          },
        };
      case "me":
        return this.#mine(asked, id, more);
      case "events":
        return this.#events(asked);
      case "devices":
        if (id === undefined) return listed(world, "device", asked.query);
        if (more === "metadata") return this.#about("device", found(world.devices, id), asked);
        return this.#device(asked, found(world.devices, id));
      case "links": {
        const link = found(world.links, [id, more].sort().join("/"));
        if (part === "retry") return undefined;
        return part === "history" ? page(hoursOf(link, Number(asked.query.get("hours") ?? 720))) : link;
      }
      case "webhooks": {
        const { versions } = world;
        if (method === "PATCH") this.#match(id!, asked);
        return answerWebhooks(world, asked, (changed) => versions.set(changed, (versions.get(changed) ?? 0) + 1));
      }
      case "users":
        if (id === undefined) return method === "GET" ? listed(world, "user", asked.query) : this.#addUser(body);
        if (more === "metadata") return this.#about("user", found(world.users, id), asked);
        if (more === "code") return { code: "7f9kq2", url: `/welcome/7f9kq2`, expires_at: Date.now() + 86_400_000 };
        this.#match(id, asked);
        return method === "GET"
          ? found(world.users, id)
          : this.#put("user", world.users, this.#edited(found(world.users, id), body));
      case "networks":
        if (id === undefined && method === "GET") return listed(world, "network", asked.query);
        return id === undefined ? this.#addNetwork(body) : this.#network(asked, networkOf(world, id), more, part, verb);
      default:
        throw new Refused(404, "api.no_route", "there is no such route");
    }
  }

  #edited(user: T.User, { disabled, ...fields }: Record<string, unknown>): T.User {
    return { ...user, ...fields, ...(disabled === undefined ? {} : { disabled_at: disabled ? Date.now() : null }) };
  }

  #mine({ method, body }: Asked, what: string | undefined, id: string | undefined): unknown {
    const { sessions, tokens, me } = this.#world;
    if (what === undefined) return me;
    const map: Map<string, unknown> = what === "sessions" ? sessions : tokens;
    if (method === "DELETE") return void map.delete(id!);
    if (method === "GET") return page([...map.values()]);
    const token: T.Token = {
      id: `t${tokens.size}`,
      name: String(body.name),
      prefix: "lyt_Qm31",
      scope: body.scope as "read",
      network_id: null,
      expires_at: body.expires_in ? Date.now() + Number(body.expires_in) * 1_000 : null,
      last_used_at: null,
      created_at: Date.now(),
    };
    tokens.set(token.id, token);
    return { ...token, secret: "lyt_Qm31bW9uZ29vc2Vz0f7b3c9dZ" };
  }

  #events({ query }: Asked): unknown {
    const [kind, id] = (query.get("entity") ?? "").split(":");
    const network = query.get("network");
    const inNetwork = new Set(
      [...this.#world.members.values()].filter((member) => member.network === network).map((member) => member.id),
    );
    const device =
      kind === "device"
        ? new Set(
            [...this.#world.members.values()].filter((member) => member.device_id === id).map((member) => member.id),
          )
        : undefined;
    const fits = this.#world.events.filter(
      (event) => (!network || inNetwork.has(event.entity_id)) && (!device || device.has(event.entity_id)),
    );
    const from = Number(query.get("after") ?? 0);
    const to = from + Number(query.get("limit") ?? 50);
    return { items: fits.slice(from, to), next: to < fits.length ? String(to) : null };
  }

  #device(asked: Asked, device: T.Device): unknown {
    const { devices, members, links } = this.#world;
    if (asked.method === "GET") return device;
    this.#match(device.id, asked);
    if (asked.method === "DELETE") {
      for (const member of [...members.values()])
        if (member.device_id === device.id) this.#gone("member", members, member.id);
      for (const link of [...links.values()])
        if (link.device_id === device.id || link.peer_id === device.id) this.#gone("link", links, link.id);
      return this.#gone("device", devices, device.id);
    }
    const { suspended, ...fields } = asked.body;
    return this.#put("device", devices, {
      ...device,
      ...fields,
      ...(suspended === undefined ? {} : { suspended_at: suspended ? Date.now() : null }),
    });
  }

  #addUser(body: Record<string, unknown>): T.User {
    if ([...this.#world.users.values()].some(({ name }) => name === body.name))
      throw new Refused(409, "index.taken", `the name "${String(body.name)}" is in use: choose another`);
    return this.#put("user", this.#world.users, {
      id: `u_${String(body.name)}`,
      display_name: "",
      email: null,
      kind: "person",
      is_server_admin: false,
      disabled_at: null,
      created_at: Date.now(),
      ...body,
    } as T.User);
  }

  #addNetwork(body: Record<string, unknown>): T.Network {
    const { networks } = this.#world;
    if ([...networks.values()].some(({ name }) => name === body.name))
      throw new Refused(409, "index.taken", `the name "${String(body.name)}" is in use: choose another`);
    const n = networks.size;
    return this.#put("network", networks, {
      id: `n_${String(body.name)}`,
      join_mode: "invite",
      has_password: false,
      approve: "auto",
      prefix4: `10.${90 + n}.0.0/16`,
      prefix6: `fd5a:${90 + n}::/64`,
      peer_relay: true,
      ...{ revision: 1, members: 0, pending: 0 },
      created_at: Date.now(),
      role: "owner",
      ...body,
    } as T.Network);
  }

  #network(
    asked: Asked,
    network: T.Network,
    noun: string | undefined,
    id: string | undefined,
    verb: string | undefined,
  ): unknown {
    const { networks, invites, roles } = this.#world;
    const { method, body } = asked;
    switch (noun) {
      case undefined:
        if (method === "GET") return network;
        if (method === "DELETE") return this.#gone("network", networks, network.id);
        this.#match(network.id, asked);
        return this.#put("network", networks, { ...network, ...body, revision: network.revision + 1 });
      case "metadata":
        return this.#about("network", network, asked);
      case "groups":
        return this.#groups(network, id, asked);
      case "members":
        if (id === undefined) return listed(this.#world, "member", asked.query, network.name);
        if (verb === "metadata") return this.#about("member", found(this.#world.members, id), asked);
        return this.#member(asked, network, found(this.#world.members, id), verb);
      case "invites":
        if (method === "GET") return page([...invites.values()].filter((invite) => invite.network === network.name));
        if (method === "DELETE")
          return void this.#put("invite", invites, { ...found(invites, id), revoked_at: Date.now() });
        return addInvite(this.#world, network, body, (invite) => void this.#put("invite", invites, invite));
      case "roles": {
        if (method === "GET") return page([...roles.values()].filter((role) => role.network === network.name));
        const key = `${network.id}/${id!}`;
        if (method === "DELETE") return this.#gone("role", roles, key);
        const user = found(this.#world.users, id);
        return this.#put("role", roles, {
          id: key,
          network: network.name,
          user_id: user.id,
          user: user.name,
          role: body.role as T.Role,
          expires_at: null,
          created_at: Date.now(),
        });
      }
      case "owner": {
        for (const role of [...roles.values()]) {
          if (role.network !== network.name) continue;
          if (role.user_id === body.user_id) this.#put("role", roles, { ...role, role: "owner" });
          else if (role.role === "owner") this.#put("role", roles, { ...role, role: "admin" });
        }
        return undefined;
      }
      default:
        throw new Refused(404, "api.no_route", "there is no such route");
    }
  }

  /** What is written about a thing; a change is told as a change of the thing. */
  #about(kind: "user" | "network" | "device" | "member", item: { id: string }, { method, body }: Asked): unknown {
    if (method === "PATCH") {
      changeMetadata(this.#world, `${kind}/${item.id}`, body);
      this.#tell(kind, { op: "put", item });
    }
    return { entries: metadataOf(this.#world, `${kind}/${item.id}`) };
  }

  #groups(network: T.Network, name: string | undefined, { method, body }: Asked): unknown {
    const { groups } = this.#world;
    const key = `${network.name}/${name}`;
    if (method === "GET")
      return page([...groups].flatMap(([at, group]) => (at.startsWith(`${network.name}/`) ? group : [])));
    if (method === "DELETE") groups.delete(key);
    else putGroup(this.#world, network.name, name!, body.users as string[]);
    this.#tell("network", { op: "put", item: network });
    return groups.get(key);
  }

  #member(asked: Asked, network: T.Network, member: T.Member, verb: string | undefined): unknown {
    const { members, networks } = this.#world;
    const { method, body } = asked;
    if (member.name === "frozen") throw new Refused(403, "index.forbidden", "an admin of the network could");
    if (verb !== undefined) {
      const state = ({ approve: "active", deny: "denied", suspend: "suspended", resume: "active" } as const)[verb];
      if (state === undefined) throw new Refused(404, "api.no_route", "there is no such route");
      const isLive = state === "active";
      const put = this.#put("member", members, {
        ...member,
        state,
        ip4: isLive ? (member.ip4 ?? "10.61.200.9") : member.ip4,
        online: isLive && member.online,
      });
      if (member.state === "pending")
        this.#put("network", networks, {
          ...network,
          pending: network.pending - 1,
          members: network.members + (isLive ? 1 : 0),
        });
      this.#event(`member.${verb}`, put);
      return put;
    }
    if (method === "GET") return member;
    if (method === "DELETE") return this.#gone("member", members, member.id);
    this.#match(member.id, asked);
    if (typeof body.expires_at === "number" && body.expires_at <= Date.now())
      throw new Refused(422, "index.invalid", "expires_at: the time has passed already: remove the member instead");
    return this.#put("member", members, { ...member, ...body });
  }
}
