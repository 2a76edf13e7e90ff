// What the stories stand on. Each file below `lib` says what it is for.
export * from "./lib/authenticator.mjs";
export * from "./lib/browser.mjs";
export * from "./lib/codes.mjs";
export * from "./lib/doors.mjs";
export * from "./lib/look.mjs";
export * from "./lib/steps.mjs";
export * from "./lib/story.mjs";
