import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.function.Supplier;
import java.util.stream.Stream;

/**
 * Runs the tests of all classes one after the other against one broker and prints a line for each.
 *
 * <p>System properties: {@code broker} (openwired or activemq: which one to start), {@code url} (use
 * this running broker for what needs no configuration of its own), {@code only} (a part of the names
 * of the tests to run), {@code repeat} (how often).
 */
public final class Run {
    private static final List<Class<? extends JmsTest>> CLASSES = List.of(
            Connections.class, Messages.class, Headers.class, Acknowledgement.class, Redelivery.class,
            Transactions.class, Selectors.class, Browsing.class, Topics.class, DurableSubscribers.class,
            TemporaryDestinations.class, CompositeAndWildcard.class, Consumers.class, Groups.class,
            Prefetch.class, Producers.class, Expiry.class, Schedules.class,
            VirtualTopics.class, VirtualDestinations.class, VirtualDemand.class, MirroredQueues.class, Policies.class,
            DeadLetters.class,
            FlowControl.class, Spooling.class, PolicyAdvisories.class, Retroactive.class, SlowTopics.class, SlowConsumers.class,
            Dispatching.class, TopicDispatch.class, Plugins.class, BrokerRedelivery.class, DebianExamples.class,
            ForcedPersistence.class, Destinations.class, BrokerWords.class, Limits.class, Cursors.class, DestinationWords.class,
            RawCommands.class, Advisories.class, WireFormats.class,
            Classics.class, Failover.class, Scale.class, Stopping.class,
            PersistenceAfterStop.class, PersistenceAfterKill.class, XaRecovery.class, Audit.class,
            Crashes.class, CrashesInTransactions.class,
            TakeoverLife.class, Takeovers.class, Networks.class, ClusterClients.class);

    /** How long what a test opened may take to close. */
    private static final int END_SECONDS = 120;

    private static int passed;
    private static final List<String> failed = new ArrayList<>();

    private Run() { }

    public static void main(String[] arguments) throws Exception {
        String only = System.getProperty("only", "");
        int repeat = Integer.getInteger("repeat", 1);
        try (Broker broker = Broker.shared()) {
            for (int round = 0; round < repeat; round++) {
                for (Class<? extends JmsTest> type : CLASSES) {
                    for (Method method : testsOf(type)) {
                        if (nameOf(type, method).contains(only)) {
                            run(type, method, round);
                        }
                    }
                }
            }
            Broker.closeConfigured();
            if (!broker.isAlive()) {
                fail("the broker ended during the tests", "its log is " + broker.log());
            }
        }
        if (passed + failed.size() == 0) {
            fail("no test is named like `" + only + "`", "");
        }
        failed.forEach(name -> System.out.println("FAILED " + name));
        System.out.println(passed + " passed, " + failed.size() + " failed");
        System.exit(failed.isEmpty() ? 0 : 1);
    }

    private static List<Method> testsOf(Class<?> type) {
        return Stream.<Class<?>>iterate(type, each -> each != JmsTest.class, Class::getSuperclass)
                .flatMap(each -> Arrays.stream(each.getDeclaredMethods()))
                .filter(method -> method.isAnnotationPresent(Test.class))
                .sorted(Comparator.comparing(Method::getName))
                .toList();
    }

    private static String nameOf(Class<?> type, Method method) {
        return type.getSimpleName() + "." + method.getName();
    }

    private static void run(Class<? extends JmsTest> type, Method method, int round) throws Exception {
        long start = System.nanoTime();
        String name = nameOf(type, method);
        JmsTest test = type.getDeclaredConstructor().newInstance();
        // Another round meets the broker of the first, so it needs names of its own.
        test.begin(name + (round == 0 ? "" : "." + round));
        Test annotation = method.getAnnotation(Test.class);
        int seconds = annotation.seconds() + annotation.secondsPerCycle() * Integer.getInteger("cycles", 0);
        Throwable thrown = inTime(seconds, name, () -> call(test, method));
        // A client that is held in the middle of a send cannot be closed either.
        Throwable left = inTime(END_SECONDS, name + " (end)", () -> {
            test.end();
            return null;
        });
        thrown = thrown == null ? left : thrown;
        long millis = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
        if (thrown == null) {
            passed++;
            System.out.println("ok     " + name + " (" + millis + " ms)");
        } else {
            fail(name, describe(thrown));
        }
    }

    /** Runs a part of a test in a thread of its own, so that one that hangs is named and left behind. */
    private static Throwable inTime(int seconds, String name, Supplier<Throwable> part) throws InterruptedException {
        CompletableFuture<Throwable> end = new CompletableFuture<>();
        Thread thread = new Thread(() -> end.complete(part.get()), name);
        thread.setDaemon(true);
        thread.start();
        try {
            return end.get(seconds, TimeUnit.SECONDS);
        } catch (TimeoutException e) {
            AssertionError hung = new AssertionError(name + ": not finished after " + seconds + " s");
            hung.setStackTrace(thread.getStackTrace());
            thread.interrupt();
            return hung;
        } catch (ExecutionException e) {
            return e.getCause();
        }
    }

    private static Throwable call(JmsTest test, Method method) {
        try {
            method.setAccessible(true);
            method.invoke(test);
            return null;
        } catch (InvocationTargetException e) {
            return e.getCause();
        } catch (ReflectiveOperationException e) {
            return e;
        }
    }

    private static void fail(String name, String why) {
        failed.add(name);
        System.out.println("FAILED " + name);
        PrintStream out = System.out;
        why.lines().map(line -> "       " + line).forEach(out::println);
    }

    /** The message, and of the stack only what lies in these tests, unless nothing does. */
    private static String describe(Throwable thrown) {
        StringWriter text = new StringWriter();
        for (Throwable each = thrown; each != null; each = each.getCause()) {
            text.append(each == thrown ? "" : "caused by ").append(each.toString()).append('\n');
            Arrays.stream(each.getStackTrace())
                    .filter(frame -> !frame.getClassName().contains("."))
                    .filter(frame -> !frame.getClassName().equals("Run"))
                    .forEach(frame -> text.append("  at ").append(frame.toString()).append('\n'));
        }
        if (Boolean.getBoolean("stack")) {
            thrown.printStackTrace(new PrintWriter(text, true));
        }
        return text.toString();
    }
}
