import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { again } from "../src/parts/again";

let asked: number[];
let answer: () => Promise<unknown>;
const ask = () => {
  asked.push(Date.now());
  return answer();
};

beforeEach(() => {
  vi.useFakeTimers({ now: 0 });
  asked = [];
  answer = () => Promise.resolve();
});

afterEach(() => vi.useRealTimers());

describe("a question asked again", () => {
  it("is asked once for news that come together, and soon", async () => {
    const asking = again(ask);
    for (let n = 0; n < 5; n += 1) asking.plan();
    await vi.advanceTimersByTimeAsync(300);
    expect(asked).toEqual([200]);
  });

  it("is asked once a second at the most while news come and come", async () => {
    const asking = again(ask);
    for (let n = 0; n < 100; n += 1) {
      asking.plan();
      await vi.advanceTimersByTimeAsync(50);
    }
    expect(asked).toEqual([200, 1_200, 2_200, 3_200, 4_200]);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(asked).toHaveLength(6);
  });

  it("is never asked twice at a time, and once more for news that come meanwhile", async () => {
    let done = () => {};
    answer = () => new Promise<void>((resolve) => (done = resolve));
    const asking = again(ask);
    asking.plan();
    await vi.advanceTimersByTimeAsync(5_000);
    asking.plan();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(asked).toEqual([200]);
    done();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(asked).toEqual([200, 11_000]);
  });

  it("waits longer for what is of little weight, and less for what comes then", async () => {
    const asking = again(ask);
    asking.plan(30_000);
    await vi.advanceTimersByTimeAsync(10_000);
    asking.plan(30_000);
    expect(asked).toEqual([]);
    asking.plan();
    await vi.advanceTimersByTimeAsync(40_000);
    expect(asked).toEqual([10_200]);
  });

  it("goes on after a failure, and ends when nobody wants it", async () => {
    answer = () => Promise.reject(new Error("no answer"));
    const asking = again(ask);
    asking.plan();
    await vi.advanceTimersByTimeAsync(500);
    asking.plan();
    await vi.advanceTimersByTimeAsync(2_000);
    expect(asked).toHaveLength(2);
    asking.plan();
    asking.stop();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(asked).toHaveLength(2);
  });
});
