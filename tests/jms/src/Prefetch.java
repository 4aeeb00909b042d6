import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQMessageConsumer;
import org.apache.activemq.ActiveMQSession;

/** How many messages a consumer holds, and how one asks for them that wants none held. */
final class Prefetch extends JmsTest {
    private static final String NONE = "jms.prefetchPolicy.all=0";

    @Test
    void a_consumer_never_holds_more_than_its_prefetch() throws Exception {
        ActiveMQConnection connection = connect("jms.prefetchPolicy.queuePrefetch=5");
        ActiveMQMessageConsumer holder = (ActiveMQMessageConsumer) auto(connection).createConsumer(queue());
        Session session = auto(connect());
        sendNumbers(session, queue(), 20);
        eventually("it holds five", () -> holder.getMessageSize() == 5);
        equal(numbers(5, 20), takeTexts(session.createConsumer(queue()), 15));
        equal(5, holder.getMessageSize());
        equal(numbers(0, 5), takeTexts(holder, 5));
    }

    @Test
    void without_a_setting_a_consumer_holds_a_thousand() throws Exception {
        ActiveMQMessageConsumer holder = (ActiveMQMessageConsumer) auto(connect()).createConsumer(queue());
        Session session = auto(connect());
        sendNumbers(session, queue(), 1200);
        eventually("it holds a thousand", () -> holder.getMessageSize() == 1000);
        equal(numbers(1000, 1200), takeTexts(session.createConsumer(queue()), 200));
        equal(1000, holder.getMessageSize());
    }

    @Test
    void the_name_of_the_queue_may_set_the_prefetch() throws Exception {
        ActiveMQMessageConsumer holder = (ActiveMQMessageConsumer)
                auto(connect()).createConsumer(option(queue(), "consumer.prefetchSize=2"));
        Session session = auto(connect());
        sendNumbers(session, queue(), 6);
        eventually("it holds two", () -> holder.getMessageSize() == 2);
        equal(numbers(2, 6), takeTexts(session.createConsumer(queue()), 4));
        equal(2, holder.getMessageSize());
    }

    @Test
    void a_message_that_the_application_has_makes_room_for_another() throws Exception {
        ActiveMQConnection connection = connect("jms.prefetchPolicy.queuePrefetch=1");
        Session session = connection.createSession(false, ActiveMQSession.INDIVIDUAL_ACKNOWLEDGE);
        ActiveMQMessageConsumer consumer = (ActiveMQMessageConsumer) session.createConsumer(queue());
        Session other = auto(connect());
        sendNumbers(other, queue(), 3);
        equal("0", takeText(consumer));
        eventually("it holds the next", () -> consumer.getMessageSize() == 1);
        equal("2", takeText(other.createConsumer(queue())));
    }

    @Test
    void a_prefetch_of_one_shares_work_by_speed() throws Exception {
        Session slow = client(connect("jms.prefetchPolicy.queuePrefetch=1"));
        MessageConsumer busy = slow.createConsumer(queue());
        Session session = auto(connect("jms.prefetchPolicy.queuePrefetch=1"));
        sendNumbers(session, queue(), 50);
        Message held = take(busy);
        MessageConsumer free = session.createConsumer(queue());
        List<String> got = takeAll(free);
        check(got.size() >= 48, "the free consumer got " + got.size());
        held.acknowledge();
    }

    @Test
    void topic_consumers_hold_no_more_than_their_prefetch_either() throws Exception {
        ActiveMQConnection connection = connect("jms.prefetchPolicy.topicPrefetch=4");
        ActiveMQMessageConsumer holder = (ActiveMQMessageConsumer) auto(connection).createConsumer(topic());
        Session session = auto(connect());
        MessageConsumer other = session.createConsumer(topic());
        sendNumbers(session, topic(), 20);
        equal(numbers(0, 20), takeTexts(other, 20));
        eventually("it holds four", () -> holder.getMessageSize() == 4);
        equal(numbers(0, 20), takeTexts(holder, 20));
    }

    @Test
    void pulling_from_an_empty_queue_ends_at_once_or_in_time() throws Exception {
        MessageConsumer consumer = auto(connect(NONE)).createConsumer(queue());
        equal(null, consumer.receiveNoWait());
        long start = System.nanoTime();
        equal(null, consumer.receive(500));
        long millis = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
        check(millis >= 450 && millis < 5000, "ended after " + millis + " ms");
    }

    @Test
    void pulling_takes_one_message_at_a_time() throws Exception {
        MessageConsumer pulling = auto(connect(NONE)).createConsumer(queue());
        Session session = auto(connect());
        sendNumbers(session, queue(), 6);
        equal("0", takeText(pulling));
        equal("1", ((javax.jms.TextMessage) pulling.receiveNoWait()).getText());
        equal(0, ((ActiveMQMessageConsumer) pulling).getMessageSize());
        equal(numbers(2, 6), takeTexts(session.createConsumer(queue()), 4));
        equal(null, pulling.receiveNoWait());
    }

    @Test
    void a_pull_that_waits_gets_the_message_that_comes() throws Exception {
        MessageConsumer pulling = auto(connect(NONE)).createConsumer(queue());
        CompletableFuture<String> got = new CompletableFuture<>();
        Thread thread = new Thread(() -> {
            try {
                got.complete(((javax.jms.TextMessage) pulling.receive()).getText());
            } catch (Exception e) {
                got.completeExceptionally(e);
            }
        });
        thread.start();
        eventually("it waits", () -> thread.getState() == Thread.State.WAITING);
        send(auto(connect()), queue(), "late");
        equal("late", got.get(SOON, TimeUnit.MILLISECONDS));
    }

    @Test
    void a_pull_that_ended_takes_nothing_later() throws Exception {
        MessageConsumer pulling = auto(connect(NONE)).createConsumer(queue());
        equal(null, pulling.receive(100));
        Session session = auto(connect());
        send(session, queue(), "one");
        equal("one", takeText(session.createConsumer(queue())));
    }

    @Test
    void pulling_consumers_share_a_queue() throws Exception {
        Session session = auto(connect(NONE));
        MessageConsumer one = session.createConsumer(queue());
        MessageConsumer two = session.createConsumer(queue());
        sendNumbers(session, queue(), 10);
        for (int i = 0; i < 10; i++) {
            equal("" + i, takeText(i % 3 == 0 ? one : two));
        }
    }

    @Test
    void pulling_works_in_transactions_and_with_selectors() throws Exception {
        ActiveMQConnection connection = connect(NONE);
        Session session = transacted(connection);
        for (int i = 0; i < 4; i++) {
            Message message = session.createTextMessage("" + i);
            message.setIntProperty("i", i);
            session.createProducer(queue()).send(message);
        }
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue(), "i > 1");
        equal(List.of("2", "3"), takeTexts(consumer, 2));
        session.rollback();
        equal(List.of("2", "3"), takeTexts(consumer, 2));
        session.commit();
        equal(null, consumer.receiveNoWait());
        connection.close();
        equal(List.of("0", "1"), drain(queue()));
    }

    @Test
    void pulling_every_acknowledge_mode_reads_on() throws Exception {
        for (int mode : new int[] {Session.AUTO_ACKNOWLEDGE, Session.CLIENT_ACKNOWLEDGE,
                Session.DUPS_OK_ACKNOWLEDGE, ActiveMQSession.INDIVIDUAL_ACKNOWLEDGE}) {
            ActiveMQConnection connection = connect(NONE);
            Session session = connection.createSession(false, mode);
            sendNumbers(session, queue(), 10);
            MessageConsumer consumer = session.createConsumer(queue());
            for (int i = 0; i < 10; i++) {
                Message message = take(consumer);
                equal("" + i, ((javax.jms.TextMessage) message).getText(), "mode " + mode);
                message.acknowledge();
            }
            connection.close();
            equal(List.of(), drain(queue()), "mode " + mode);
        }
    }

    @Test
    void a_listener_cannot_pull() throws Exception {
        MessageConsumer consumer = auto(connect(NONE)).createConsumer(queue());
        contains("Illegal prefetch size of zero",
                refused(JMSException.class, () -> consumer.setMessageListener(message -> { })).getMessage());
    }

    @Test
    void a_batch_of_one_listener_goes_through_all() throws Exception {
        ActiveMQConnection connection = connect("jms.prefetchPolicy.all=1");
        java.util.concurrent.CountDownLatch all = new java.util.concurrent.CountDownLatch(300);
        auto(connection).createConsumer(queue()).setMessageListener(message -> all.countDown());
        sendNumbers(auto(connect()), queue(), 300);
        check(all.await(SOON, TimeUnit.MILLISECONDS), all.getCount() + " missing");
    }
}
