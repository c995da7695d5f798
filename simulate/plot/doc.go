// Package plot draws reports of package simulate over time, side by side, as one SVG.
//
// Each report is a column. From the top its panels show
//
//   - the calls that were offered and answered, and the requests that were sent, a second:
//     where more is sent than offered, a policy makes an outage larger;
//   - the share of circuits that are open, if one is;
//   - the rate that pacers allow, as long as one holds the fleet.
//
// All columns have the same scales. The phases of the scenario are shaded. The picture
// brings its own background, and has other colours for readers of dark pages.
package plot
