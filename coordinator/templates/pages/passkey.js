// Passkeys: asks the server what to sign, has the browser sign it, and goes where the answer says.
// Everything else on these pages works without this file.
"use strict";

(() => {
  if (!window.PublicKeyCredential) return;

  const toBytes = (text) => {
    const plain = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    return Uint8Array.from(plain, (c) => c.charCodeAt(0));
  };
  const toText = (bytes) => {
    if (!bytes) return undefined;
    const plain = String.fromCharCode(...new Uint8Array(bytes));
    return btoa(plain).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  };
  const withBytes = (list) => (list || []).map((known) => ({ ...known, id: toBytes(known.id) }));

  const send = async (path, body) => {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body || {}),
    });
    if (answer.redirected) {
      // Signed out meanwhile.
      location.assign("/signin");
      return new Promise(() => {});
    }
    const told = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(told.why || "The server does not answer as it should. Try again.");
    return told;
  };

  const signIn = async () => {
    const { publicKey } = await send("/signin/passkey/start");
    publicKey.challenge = toBytes(publicKey.challenge);
    publicKey.allowCredentials = withBytes(publicKey.allowCredentials);
    const made = await navigator.credentials.get({ publicKey });
    return send("/signin/passkey/finish", {
      id: made.id,
      rawId: toText(made.rawId),
      type: made.type,
      response: {
        authenticatorData: toText(made.response.authenticatorData),
        clientDataJSON: toText(made.response.clientDataJSON),
        signature: toText(made.response.signature),
        userHandle: toText(made.response.userHandle),
      },
    });
  };

  const add = async (form) => {
    const proof = form.elements.password ? form.elements.password.value : "";
    const { publicKey } = await send("/account/passkeys/start", { password: proof });
    publicKey.challenge = toBytes(publicKey.challenge);
    publicKey.user.id = toBytes(publicKey.user.id);
    publicKey.excludeCredentials = withBytes(publicKey.excludeCredentials);
    const made = await navigator.credentials.create({ publicKey });
    return send("/account/passkeys/finish", {
      label: form.elements.label.value,
      credential: {
        id: made.id,
        rawId: toText(made.rawId),
        type: made.type,
        response: {
          attestationObject: toText(made.response.attestationObject),
          clientDataJSON: toText(made.response.clientDataJSON),
        },
      },
    });
  };

  const attempt = async (element, work) => {
    const status = element.querySelector("[role=status]");
    const button = element.querySelector("button");
    status.textContent = "";
    button.disabled = true;
    try {
      location.assign((await work()).to);
    } catch (error) {
      // The browser's own words for "cancelled" help nobody.
      const isCancelled = error.name === "NotAllowedError" || error.name === "AbortError";
      const isKnown = error.name === "InvalidStateError";
      status.textContent = isCancelled
        ? "Nothing was chosen."
        : isKnown ? "This device has a passkey for you already." : error.message;
      button.disabled = false;
    }
  };

  const entrance = document.getElementById("passkey-signin");
  if (entrance) {
    entrance.hidden = false;
    entrance.querySelector("button").addEventListener("click", () => attempt(entrance, signIn));
  }
  const form = document.getElementById("passkey-add");
  if (form) {
    form.hidden = false;
    document.getElementById("passkey-none").hidden = true;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      attempt(form, () => add(form));
    });
  }
})();
