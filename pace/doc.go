// Package pace holds the requests of many callers to what a provider accepts.
package pace
