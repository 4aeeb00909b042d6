import java.util.Random;

/** How often a test with crashes crashes, and the randomness of it. */
record Cycles(int count, long seed) {
    /** As many as -Dcycles says, else as many as the broker under test does in reasonable time. */
    static Cycles of(int openwired, int activemq) {
        int usual = Broker.isActiveMq() ? activemq : openwired;
        return new Cycles(Integer.getInteger("cycles", usual),
                Long.getLong("seed", new Random().nextInt(Integer.MAX_VALUE)));
    }

    Random random() {
        return new Random(seed);
    }

    @Override
    public String toString() {
        return count + " cycles with seed " + seed;
    }
}
