/** A worker that ticks: browsers slow the timers of a page down to one a second while its tab is hidden, but not a worker's. */

let timer = 0;

onmessage = ({data: milliseconds}) => {
  clearInterval(timer);
  if (milliseconds) timer = setInterval(() => postMessage(null), milliseconds);
};
