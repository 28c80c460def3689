/** A worker that sends a message at an interval: browsers throttle the timers of hidden pages, but not those of workers. */

let timer = 0;

onmessage = ({data: milliseconds}) => {
  clearInterval(timer);
  if (milliseconds) timer = setInterval(() => postMessage(null), milliseconds);
};
