// The drawer on the right: whatever a row, chip or node of the map stands for. Its address can be sent to somebody.

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { t } from "../i18n/t";
import { IconButton, LinkButton } from "../parts/Button";
import { State } from "../parts/Dot";
import { Empty } from "../parts/Empty";
import { go, here, opened, to } from "../route";
import { nameOf } from "../store/rows";
import { store } from "../store/store";
import { DeviceDetail } from "./Device";
import { LinkDetail } from "./Link";
import { MemberDetail } from "./Member";
import { UserDetail } from "./User";

export function Drawer() {
  const thing = opened.value;
  return thing ? <Panel key={`${thing.kind}/${thing.id}`} {...content(thing.kind, thing.id)} /> : null;
}

interface Content {
  title: string;
  about?: ComponentChildren;
  /** Its own page. */
  href?: string;
  body: ComponentChildren;
}

function content(kind: string, id: string): Content {
  switch (kind) {
    case "device": {
      const row = store.rows.get(id);
      if (!row) return { title: t("device"), body: <Empty icon="devices" title={t("device.gone")} /> };
      return {
        title: row.name,
        about: <State state={row.state} />,
        href: to("devices", id),
        body: <DeviceDetail row={row} />,
      };
    }
    case "member": {
      const member = store.members.get(id);
      const title = member ? t("member.in", { name: member.name, network: member.network }) : t("member");
      return { title, body: <MemberDetail member={member} /> };
    }
    case "link": {
      return { title: t("link"), body: <LinkDetail link={store.links.get(id)} /> };
    }
    case "user": {
      const user = store.users.get(id);
      return { title: user ? nameOf(user) : t("user"), body: <UserDetail user={user} /> };
    }
    default:
      return { title: t("nowhere"), body: null };
  }
}

/** What had the focus before the drawer opened, while it goes from one thing to the next. */
let opener: Element | null = null;

function Panel({ title, about, href, body }: Content) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    const from = document.activeElement;
    if (from && !from.closest(".drawer")) opener = from;
    heading.current?.focus({ preventScroll: true });
    return () => {
      // The next thing may take the drawer over at once; only when nothing does, the focus goes back.
      queueMicrotask(() => {
        if (!opened.value && opener instanceof HTMLElement && opener.isConnected) opener.focus();
      });
    };
  }, []);
  return (
    <aside class="drawer" aria-label={title}>
      <header class="drawer-head">
        <div>
          <h2 ref={heading} tabIndex={-1}>
            {title}
          </h2>
          {about}
        </div>
        {href && (
          <LinkButton small look="bare" href={href}>
            {t("drawer.page")}
          </LinkButton>
        )}
        <IconButton icon="close" label={t("close")} onClick={() => go(here({ open: null }))} />
      </header>
      <div class="drawer-body">{body}</div>
    </aside>
  );
}
