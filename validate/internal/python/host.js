// What Brython expects of a browser's worker, as far as it asks for it while it
// is loaded. Nothing here reaches outside.
var self = globalThis;
var console = {log() {}, warn() {}, error() {}, info() {}, debug() {}};
var setTimeout = function () {};
var navigator = {language: "en", userAgent: ""};
var location = {href: "http://worker/x", origin: "http://worker", host: "worker", hostname: "worker", protocol: "http:", port: "", pathname: "/x"};
function URL() { this.pathname = "/"; this.search = ""; this.hash = ""; }
function Any() {}
Object.defineProperty(Any, Symbol.hasInstance, {value() { return true; }});
var WorkerGlobalScope = Any, WorkerNavigator = Any;
function importScripts() {}
var Intl = {DateTimeFormat: function () {
	return {format() { return ""; }, formatToParts() { return []; }, resolvedOptions() { return {locale: "en", timeZone: "UTC"}; }};
}};
