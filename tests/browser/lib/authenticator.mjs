// A security key that is plugged into a window: Chromium's virtual authenticator, touched whenever it is asked.

// `transport`: usb, nfc, ble, cable (a phone), internal (built into the device).
export async function plugIn(page, { transport = "usb" } = {}) {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("WebAuthn.enable");
  const isBuiltIn = transport === "internal" || transport === "cable";
  const { authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2", transport, hasResidentKey: isBuiltIn, hasUserVerification: isBuiltIn,
      isUserVerified: isBuiltIn, automaticPresenceSimulation: true,
    },
  });
  const send = (method, more) => devtools.send("WebAuthn." + method, { authenticatorId, ...more });
  return {
    credentials: async () => (await send("getCredentials")).credentials,
    // Somebody who does not touch it.
    leaveUntouched: () => send("setAutomaticPresenceSimulation", { enabled: false }),
    touchWhenAsked: () => send("setAutomaticPresenceSimulation", { enabled: true }),
    unplug: () => send("removeVirtualAuthenticator"),
  };
}
